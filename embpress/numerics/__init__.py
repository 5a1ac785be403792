"""Array routines: bit packing, rotation, trellis, entropy coding, search and linear algebra."""
