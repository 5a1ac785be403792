"""What tests of tasks share."""

import pytest
from tokenizers import processors


@pytest.fixture
def tokenizer(wordpiece):
    """A tokenizer that joins two texts as BERT's does."""
    wordpiece.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return wordpiece
