"""Writes tests/text/tokenizer_cases.json: small tokenizers of every kind with what the `tokenizers` wheel makes of some strings.

Each entry has the tokenizer.json itself and cases [text, ids, text decoded with its special tokens, and without]. The
tokenizers are trained on little text and cut down, so that the file stays small. Run it by hand, in the environment of
tests/oracle/setup, when the strings or the kinds change; tests/text/tokenizer_cases_test.cc reads the result.
"""
import json
from importlib.metadata import version

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_tokenizers import DEEPSEEK_SPLITS, GPT4O_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT
from sluice import SOURCE
from strings import SENTENCES

OUT = SOURCE / "tests" / "text" / "tokenizer_cases.json"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
STRINGS = [
    "", " ", "  ", "\n", "\n\n \n", "\t\tx", "a", " a", "a ", "  a  b   c", "Hello, world!", "it's I'LL we'VE 'tis don't",
    "'\u017f", "1234567890 3.14 1,000", "x=1;y=22;z=333;", "def f(x):\n    return x**2\n", "\r\n\r\nend", "caf\u00e9 cafe\u0301",
    "\ufb01ne \u00b2\u00bd \u2168", "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002", "\u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5", "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "\u0645\u0631\u062d\u0628\u0627",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f600\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a\u00a0b\u3000c\u2028d\u0085e", "\u180e\u200b\ufeff", "\u2581\u2581a \u2581", "<s>", "a<s>b", " <s> ", "</s></s>", "<s", "s>",
    "<<s>>", "<think>", "x <think> y", "<think>x", "<mask> <mask>", "aLordb Lord Lords", "<0x0A>", "<0x41>b",
    "aaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab", "................", "= = == ===", "The quick brown fox jumps over the lazy dog.",
    "What is 48/2? <<48/2=24>>24 #### 24", "SELECT * FROM t WHERE a != 'b';", "\u0130stanbul STRASSE \u03a3",
]
ADDED = [AddedToken("<think>", normalized=False), AddedToken("<think>x", normalized=False),
         AddedToken("Lord", single_word=True, normalized=True)]
SPECIAL = [AddedToken("<s>", normalized=False), AddedToken("</s>", rstrip=True, normalized=False),
           AddedToken("<mask>", lstrip=True, normalized=False)]


def lines():
    shakespeare = (SOURCE / "data" / "text" / "tinyshakespeare.txt").read_text()[:20_000].split("\n")
    return shakespeare + SENTENCES + STRINGS


def finish(tokenizer):
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens(ADDED)
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos)])
    return tokenizer


def byte_level(*splits, normalizer=None, ignore_merges=False, behavior="isolated", invert=False, prefix=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    parts = [pre_tokenizers.Split(Regex(split), behavior, invert) for split in splits]
    last = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=not splits)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*parts, last])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return finish(tokenizer)


def sentencepiece_bpe(change, byte_fallback=True):
    """BPE over characters, trained with Metaspace and then given the parts that `change` sets."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    first = ["<unk>"] + (BYTES if byte_fallback else [])
    tokenizer.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=len(first) + 160, limit_alphabet=70, special_tokens=first, show_progress=False))
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][:1]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.pre_tokenizer = None
    change(tokenizer)
    return finish(tokenizer)


def llama2(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])


def mistral(tokenizer):
    llama2(tokenizer)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)


def gemma(tokenizer):
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])


def plain(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()


def unigram(byte_fallback):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(lines(), trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False))
    if byte_fallback:
        document = json.loads(tokenizer.to_str())
        document["model"]["vocab"] += [[byte, -20.0] for byte in BYTES]
        document["model"]["byte_fallback"] = True
        tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return finish(tokenizer)


KINDS = {
    "gpt2": lambda: byte_level(),
    "gpt2_with_prefix": lambda: byte_level(prefix=True),
    "llama3": lambda: byte_level(LLAMA3_SPLIT, ignore_merges=True),
    "qwen2": lambda: byte_level(QWEN2_SPLIT, normalizer=normalizers.NFC()),
    "gpt4o": lambda: byte_level(GPT4O_SPLIT, behavior="removed", invert=True),
    "deepseek": lambda: byte_level(*DEEPSEEK_SPLITS),
    "llama2": lambda: sentencepiece_bpe(llama2),
    "mistral": lambda: sentencepiece_bpe(mistral),
    "gemma": lambda: sentencepiece_bpe(gemma),
    "no_bytes": lambda: sentencepiece_bpe(plain, byte_fallback=False),
    "unigram": lambda: unigram(False),
    "unigram_with_bytes": lambda: unigram(True),
}


def case(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return [text, ids, tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids)] if ids else [text, ids, "", ""]


def main():
    entries = []
    for name, make in KINDS.items():
        document = json.dumps(json.loads(make().to_str()))
        tokenizer = Tokenizer.from_str(document)
        entries.append({"name": name, "tokenizer": json.loads(document),
                        "cases": [case(tokenizer, text) for text in STRINGS]})
    made = {"made_by": f"tests/oracle/make_tokenizer_cases.py with tokenizers {version('tokenizers')}", "tokenizers": entries}
    OUT.write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
    print(OUT, OUT.stat().st_size, "bytes,", sum(len(entry["cases"]) for entry in entries), "cases")


if __name__ == "__main__":
    main()
