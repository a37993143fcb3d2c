"""The strings on which tokenizers are compared: fixed, more than 10,000, of every kind that has broken one."""
import random
import unicodedata

from sluice import SOURCE

SEED = 21

SCRIPTS = {  # first and last code point
    "Latin": (0x00C0, 0x024F), "Greek": (0x0370, 0x03FF), "Cyrillic": (0x0400, 0x04FF), "Hebrew": (0x05D0, 0x05EA),
    "Arabic": (0x0600, 0x06FF), "Devanagari": (0x0900, 0x097F), "Tamil": (0x0B80, 0x0BFF), "Thai": (0x0E00, 0x0E5B),
    "Tibetan": (0x0F00, 0x0FDA), "Georgian": (0x10A0, 0x10FF), "Jamo": (0x1100, 0x11FF), "Kana": (0x3040, 0x30FF),
    "Han": (0x4E00, 0x9FFF), "Hangul": (0xAC00, 0xD7A3), "Ligatures": (0xFB00, 0xFDFF), "Fullwidth": (0xFF01, 0xFFEF),
    "Gothic": (0x10330, 0x1034A), "Cuneiform": (0x12000, 0x12399), "Mathematical": (0x1D400, 0x1D7FF), "Han B": (0x20000, 0x2A6DF),
}
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis.", "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "我能吞下玻璃而不伤身体。今天天气很好,我们去公园吧!", "私はガラスを食べられます。それは私を傷つけません。", "나는 유리를 먹을 수 있어요. 그래도 아프지 않아요",
    "أنا قادر على أكل الزجاج و هذا لا يؤلمني.", "मैं काँच खा सकता हूँ और मुझे उससे कोई चोट नहीं पहुंचती.", "ฉันกินกระจกได้ แต่มันไม่ทำให้ฉันเจ็บ",
    "אני יכול לאכול זכוכית וזה לא מזיק לי.", "Tôi có thể ăn thủy tinh mà không hại gì.", "İstanbul'da ılık bir öğle, ŞİŞLİ'de ıspanak",
]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", "\v", "\f", "\x00", "\x1c", "\x7f", "\x85", "\xa0", "\u1680", "\u2000", "\u2003",
          "\u2009", "\u200b", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "▁", "▁▁", "\u0301", "\u034f"]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>",
           "<|start_header_id|>", "[INST]", "[/INST]", "<<SYS>>", "<0x0A>", "<0x00>", "<0xFF>", "<mask>", "<bos>", "<eos>", "<start_of_turn>",
           "<think>", "</think>", "<tool_call>", "<｜begin▁of▁sentence｜>", "<|reserved_special_token_0|>"]
EMOJI = ["😀", "👍", "👩", "👨", "👧", "❤", "🏳", "🌈", "🧑", "💻", "🚀", "🇩", "🇪", "🇯", "🇵", "🇺", "🇸", "✈", "☺", "1", "#", "🏴", "\U000e0067", "\U000e007f"]
JOINERS = ["\u200d", "\ufe0f", "\ufe0e", "\u20e3", "🏻", "🏿", "", "", ""]
FRAGMENTS = ["'s", "'S", "'T", "'re", "'LL", "'ve", "’s", "ſ", "I'm", "don't", "C++", "==", "!=", "->", "//", "/*", "*/", "{}", "();", "\\n", "\\u00e9",
             "...", "--", "snake_case", "camelCase", "HTTPServer", "x_1", "a.b", "@", "#!", "$x", "%d", "&&", "||", "~", "^", "`", "\"", "ß", "ﬁ", "Å", "①", "½"]
DIGITS = ["0", "1", "12", "123", "1234", "12345", "1234567", "1,234,567.89", "3.14", "1e-5", "0x1F", "٣٤", "४५", "１２３", "²³", "Ⅷ", "五", "1/2", "10:30", "2024-01-31"]


def is_settled(code):
    """Assigned, and not one of the letters of Unicode 14 that have a compatibility form: the wheel does not know them yet."""
    newer = 0xA7F2 <= code <= 0xA7F4 or 0x10780 <= code <= 0x107BA
    return unicodedata.category(chr(code)) not in ("Cs", "Cn") and not newer


def code_points(draw, count):
    """Code points of all planes of which libraries of any Unicode version think the same."""
    out = []
    while len(out) < count:
        code = draw.choice([draw.randrange(0x80), draw.randrange(0x3000), draw.randrange(0x10000), draw.randrange(0x110000)])
        if is_settled(code):
            out.append(chr(code))
    return "".join(out)


def script_text(draw):
    words = []
    for _ in range(draw.randint(1, 6)):
        first, last = draw.choice(list(SCRIPTS.values()))
        words.append("".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 9))))
    return draw.choice(["", " "]).join(words)


def decomposed(draw):
    text = draw.choice(SENTENCES) + "".join(draw.choice("áñçḍ̇ﬁ①ＡÅ가각ｶﾞ") for _ in range(4))
    return unicodedata.normalize(draw.choice(["NFC", "NFD", "NFKC", "NFKD"]), text)


def emoji(draw):
    return "".join(draw.choice(EMOJI) + draw.choice(JOINERS) for _ in range(draw.randint(1, 8)))


def mixture(draw, parts):
    return "".join(draw.choice(parts) for _ in range(draw.randint(1, 10)))


def words_between(draw, parts):
    words = "the of Wort слово 単語 x 7 naïve".split()
    return "".join(draw.choice(parts) + draw.choice(words) for _ in range(draw.randint(1, 6))) + draw.choice(["", draw.choice(parts)])


def torn_special(draw):
    token = draw.choice(SPECIAL)
    cut = draw.randint(0, len(token))
    return draw.choice([token[:cut], token[cut:], token + token[:cut], f"a {token} b", token.upper(), token[:cut] + " " + token[cut:], f"{token}\n{token}"])


def broken_utf8(draw):
    whole = bytearray(draw.choice(SENTENCES + [emoji(draw)]).encode())
    for _ in range(draw.randint(1, 6)):
        whole[draw.randrange(len(whole))] = draw.randrange(256)
    return bytes(whole[draw.randint(0, 3):]).decode("utf-8", "replace")


def source_lines():
    files = sorted([*SOURCE.glob("*/*.cc"), *SOURCE.glob("tests/*.py"), *SOURCE.glob("docs/*.md")])
    return [line for file in files for line in file.read_text().split("\n") if line]


def long_strings(draw):
    yield from ("a" * 4000, " " * 4000, "ab" * 3000, "\n" * 3000, "1" * 3000, "漢" * 2000, "👩‍💻" * 500, "=" * 3000, "aA" * 2000, "é" * 2000)
    yield "".join(draw.choice("abcdefgh") for _ in range(20000))
    yield " ".join(draw.choice(SENTENCES) for _ in range(200))


def strings():
    """The same list each time, without repetitions."""
    draw = random.Random(SEED)
    out = ["", *SENTENCES, *SPECIAL, *SPACES, *FRAGMENTS, *DIGITS, *(chr(code) for code in range(0x180))]
    out += [code_points(draw, draw.randint(1, 40)) for _ in range(2000)]
    out += [script_text(draw) for _ in range(1600)]
    out += [decomposed(draw) for _ in range(500)]
    out += [emoji(draw) for _ in range(900)]
    out += [mixture(draw, SPACES) for _ in range(700)]
    out += [words_between(draw, SPACES) for _ in range(1000)]
    out += [mixture(draw, DIGITS + [" ", "-", "x"]) for _ in range(800)]
    out += [mixture(draw, FRAGMENTS + [" ", "\n", "    "]) for _ in range(1200)]
    out += [torn_special(draw) for _ in range(1500)]
    out += [broken_utf8(draw) for _ in range(900)]
    out += draw.sample(source_lines(), 1500)
    shakespeare = (SOURCE / "data" / "text" / "tinyshakespeare.txt").read_text().split("\n\n")
    out += draw.sample(shakespeare, 800)
    out += long_strings(draw)
    return list(dict.fromkeys(out))
