"""Weight matrices of whole models: which there are, what each may cost, how they are compressed and put back."""
