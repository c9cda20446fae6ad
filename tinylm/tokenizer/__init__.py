"""Tokenizers: text to token ids and back.

Both kinds keep all text, and neither turns text into a control symbol, whatever it contains.

Files:
    interface.py          what every tokenizer does, and decoding as tokens are generated
    sentencepiece_bpe.py  SentencePiece BPE, the kind that TinyLM trains; `tokenizer.model`
    byte_level_bpe.py     byte-level BPE of imported models, by Hugging Face's tokenizers; `tokenizer.json`
    loading.py            the right kind for a file
    training.py           train a SentencePiece tokenizer
"""

from tinylm.tokenizer.interface import StreamDecoder as StreamDecoder
from tinylm.tokenizer.interface import Tokenizer as Tokenizer
from tinylm.tokenizer.loading import load_tokenizer as load_tokenizer
from tinylm.tokenizer.sentencepiece_bpe import BOS as BOS
from tinylm.tokenizer.sentencepiece_bpe import CONTROL_PIECES as CONTROL_PIECES
from tinylm.tokenizer.sentencepiece_bpe import EOS as EOS
from tinylm.tokenizer.sentencepiece_bpe import ROLE_PIECES as ROLE_PIECES
from tinylm.tokenizer.sentencepiece_bpe import SentencePieceTokenizer as SentencePieceTokenizer
from tinylm.tokenizer.training import train_tokenizer as train_tokenizer
