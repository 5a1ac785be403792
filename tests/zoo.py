"""Tiny random models of many architectures, as transformers writes them."""

import torch
import transformers

V = 23
SMALL = dict(
    vocab_size=V, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
)
LLAMA = dict(**SMALL, num_key_value_heads=2)
GEMMA = dict(**LLAMA, head_dim=8)
BERT = dict(**SMALL, max_position_embeddings=16)
MODERN = SMALL | dict(
    num_hidden_layers=4,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    cls_token_id=3,
    sep_token_id=4,
)
T5 = dict(vocab_size=V, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
BART = dict(
    vocab_size=V,
    d_model=16,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
)
BART |= dict(encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=16)

ZOO = {
    "bert": ("BertModel", "BertConfig", BERT),
    "bert_mlm": ("BertForMaskedLM", "BertConfig", BERT),
    "bert_classifier": ("BertForSequenceClassification", "BertConfig", dict(**BERT, num_labels=3)),
    "bert_token_regression": (
        "BertForTokenClassification",
        "BertConfig",
        dict(**BERT, num_labels=1),
    ),
    "distilbert_mlm": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        dict(vocab_size=V, dim=16, hidden_dim=32, n_layers=1, n_heads=2),
    ),
    "roberta_mlm": ("RobertaForMaskedLM", "RobertaConfig", BERT),
    "xlm_roberta_mlm": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", BERT),
    "xlm_roberta_classifier": ("XLMRobertaForSequenceClassification", "XLMRobertaConfig", BERT),
    "modernbert_mlm": (
        "ModernBertForMaskedLM",
        "ModernBertConfig",
        dict(
            **SMALL | dict(num_hidden_layers=4),
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=3,
            sep_token_id=4,
        ),
    ),
    "deberta_mlm": ("DebertaForMaskedLM", "DebertaConfig", BERT),
    "deberta_v2": ("DebertaV2Model", "DebertaV2Config", BERT),
    "deberta_v2_mlm": ("DebertaV2ForMaskedLM", "DebertaV2Config", BERT),
    "electra": ("ElectraModel", "ElectraConfig", dict(**BERT, embedding_size=8)),
    "electra_discriminator": (
        "ElectraForPreTraining",
        "ElectraConfig",
        dict(**BERT, embedding_size=8),
    ),
    "electra_mlm": ("ElectraForMaskedLM", "ElectraConfig", dict(**BERT, embedding_size=8)),
    "albert_mlm": ("AlbertForMaskedLM", "AlbertConfig", dict(**BERT, embedding_size=8)),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        dict(
            vocab_size=V,
            n_positions=16,
            n_embd=16,
            n_layer=1,
            n_head=2,
            bos_token_id=0,
            eos_token_id=1,
        ),
    ),
    "llama_tied": ("LlamaForCausalLM", "LlamaConfig", dict(**LLAMA, tie_word_embeddings=True)),
    "llama_untied": ("LlamaForCausalLM", "LlamaConfig", dict(**LLAMA, tie_word_embeddings=False)),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", dict(**GEMMA, tie_word_embeddings=True)),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", dict(**LLAMA, num_local_experts=2)),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", GEMMA),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", GEMMA),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", GEMMA),
    "gemma3n": (
        "Gemma3nForCausalLM",
        "Gemma3nTextConfig",
        dict(
            **GEMMA | dict(num_hidden_layers=2),
            vocab_size_per_layer_input=V,
            hidden_size_per_layer_input=4,
            num_kv_shared_layers=0,
            laurel_rank=4,
            layer_types=["sliding_attention", "full_attention"],
            activation_sparsity_pattern=[0.0, 0.0],
        ),
    ),
    "mamba": (
        "MambaForCausalLM",
        "MambaConfig",
        dict(vocab_size=V, hidden_size=16, num_hidden_layers=1, state_size=4),
    ),
    "clip_text": (
        "CLIPTextModel",
        "CLIPTextConfig",
        dict(**BERT, pad_token_id=0, bos_token_id=1, eos_token_id=2),
    ),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5),
    "t5_encoder": ("T5EncoderModel", "T5Config", T5),
    "bart": ("BartForConditionalGeneration", "BartConfig", BART),
    "bart_scaled": (
        "BartForConditionalGeneration",
        "BartConfig",
        dict(**BART, scale_embedding=True),
    ),
}


def tiny(name, **changes):
    """A model of the zoo, in inference, with weights large enough to tell outputs apart."""
    kind, config, sizes = ZOO[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**sizes | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def outputs(model):
    """The main output on some ids."""
    ids = torch.tensor([[3, 5, 5, 9], [1, 0, 2, V - 1]])
    more = (
        {"decoder_input_ids": ids}
        if model.config.is_encoder_decoder and "Encoder" not in type(model).__name__
        else {}
    )
    with torch.no_grad():
        found = model(input_ids=ids, **more)
    return found.logits if hasattr(found, "logits") else found.last_hidden_state
