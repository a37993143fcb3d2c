"""Tokenizers of every kind that published models use, trained on small text; each a directory as transformers saves it."""
import json

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sluice import SOURCE
from strings import EMOJI, SENTENCES

VOCAB = 2000
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O_SPLIT = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK_SPLITS = [
    r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def training_text():
    shakespeare = (SOURCE / "data" / "text" / "tinyshakespeare.txt").read_text()[:200_000].split("\n")
    code = (SOURCE / "tests" / "oracle" / "strings.py").read_text().split("\n")
    return shakespeare + code + SENTENCES * 20 + ["".join(EMOJI)] * 10 + [f"{n} {n * 37} {n}.5" for n in range(2000)]


def byte_level(split, special, normalizer=None, bos=None, ignore_merges=False, add_prefix_space=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=not split)
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*parts, bytes_only]) if parts else bytes_only
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(training_text(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        single = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))])
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), single])
    return tokenizer


def with_byte_fallback(tokenizer, special):
    """The trained BPE again, with the control tokens and the 256 bytes in front, as converted SentencePiece models have."""
    trained = json.loads(tokenizer.to_str())
    pieces = [piece for piece, _ in sorted(trained["model"]["vocab"].items(), key=lambda item: item[1])]
    names = dict.fromkeys([*special, *BYTES, *(piece for piece in pieces if piece not in special)])
    trained["model"] |= {"vocab": {piece: number for number, piece in enumerate(names)}, "byte_fallback": True, "fuse_unk": True,
                         "unk_token": "<unk>"}
    trained["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(trained))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return tokenizer


def sentencepiece_bpe(legacy):
    """As Llama 2's converted tokenizer: with normalizers in the old files, with Metaspace in the new ones."""
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=not legacy)
    tokenizer.train_from_iterator(training_text(), trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special, show_progress=False))
    tokenizer = with_byte_fallback(tokenizer, special)
    if legacy:
        tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def gemma_bpe():
    """As Gemma's: a replaced space, a split at it that merges backwards, no prefix."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    lines = [word for line in training_text() for word in (line + " ").replace(" ", "▁ ").split(" ")]  # else merges span words
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special, show_progress=False))
    tokenizer = with_byte_fallback(tokenizer, special)
    tokenizer.add_tokens([AddedToken(run, normalized=False) for run in ("\n\n", "\n\n\n", "▁▁▁▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))])
    return tokenizer


def unigram(byte_fallback):
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=VOCAB, special_tokens=special + (BYTES if byte_fallback else []), unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(training_text(), trainer)
    if byte_fallback:
        trained = json.loads(tokenizer.to_str())
        trained["model"]["byte_fallback"] = True
        trained["added_tokens"] = [token for token in trained["added_tokens"] if token["content"] in special]
        tokenizer = Tokenizer.from_str(json.dumps(trained))
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    return tokenizer


def lower_digits():
    """Lowercase, strip and single digits, with added words that stand alone or eat the space beside them."""
    tokenizer = byte_level([], [], normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), normalizers.Strip()]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("<eos>", rstrip=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("snake_case", single_word=True), AddedToken("http", normalized=True)])
    return tokenizer


KINDS = {
    "gpt2": lambda: byte_level([], ["<|endoftext|>"]),
    "gpt2_prefix_space": lambda: byte_level([], ["<s>", "</s>", "<mask>"], add_prefix_space=True),
    "llama3": lambda: byte_level([LLAMA3_SPLIT], ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>"], bos="<|begin_of_text|>", ignore_merges=True),
    "qwen2": lambda: byte_level([QWEN2_SPLIT], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC()),
    "gpt4o": lambda: byte_level([GPT4O_SPLIT], ["<|endoftext|>"]),
    "deepseek": lambda: byte_level(DEEPSEEK_SPLITS, ["<｜begin▁of▁sentence｜>", "<think>", "</think>"], bos="<｜begin▁of▁sentence｜>"),
    "lower_digits": lower_digits,
    "llama2": lambda: sentencepiece_bpe(legacy=True),
    "metaspace_bpe": lambda: sentencepiece_bpe(legacy=False),
    "gemma": gemma_bpe,
    "unigram": lambda: unigram(byte_fallback=False),
    "unigram_bytes": lambda: unigram(byte_fallback=True),
}
SENTENCEPIECE = {
    "sentencepiece_bpe": dict(model_type="bpe", byte_fallback=True, split_digits=True),
    "sentencepiece_unigram": dict(model_type="unigram", byte_fallback=True),
    "sentencepiece_nmt": dict(model_type="unigram", normalization_rule_name="nmt_nfkc"),
    "sentencepiece_identity": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
                                   remove_extra_whitespaces=False, allow_whitespace_only_pieces=True),
}


def make(root, kind):
    """The directory of one kind, made under `root`."""
    directory = root / kind
    directory.mkdir(parents=True)
    if kind in KINDS:
        KINDS[kind]().save(str(directory / "tokenizer.json"))
        (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    else:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(training_text()), model_prefix=str(directory / "tokenizer"), vocab_size=VOCAB, minloglevel=2,
            num_threads=1, user_defined_symbols=["<|im_start|>"], **SENTENCEPIECE[kind])
    return directory
