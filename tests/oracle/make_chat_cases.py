"""Renders the chat templates and snippets of data/chat_templates with transformers and jinja2 into cases.json.

    make_chat_cases.py [OUTPUT]

Every NAME.jinja with every conversation of conversations.json, with and without a generation prompt; every snippet of
snippets.json with the variables below. A case has the text and the byte ranges of {% generation %} blocks, or says that
the rendering is refused. It needs the environment of tests/oracle/setup.
"""
import json
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

DATA = Path(__file__).resolve().parents[2] / "data" / "chat_templates"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
VARIABLES = {
    "d": {"a": 1, "items": "own", "list": [10, 20]},
    "l": [3, 1, 2],
    "rows": [{"name": "al", "age": 41}, {"name": "Cy", "age": 7}, {"name": "bo", "age": 7}],
}


def rendered(source, messages, tools=None, generation_prompt=False, **variables):
    try:
        texts, ranges = render_jinja_template(
            [messages], tools=tools, chat_template=source, add_generation_prompt=generation_prompt,
            return_assistant_tokens_mask="generation %}" in source, **TOKENS, **variables)
    except Exception:  # whatever jinja2 refuses, Sluice refuses; in which words is its own affair
        return {"refused": True}
    text = texts[0]
    # transformers counts characters.
    in_bytes = [[len(text[:end].encode()) for end in pair] for pair in (ranges[0] if ranges else [])]
    return {"text": text, "generation": in_bytes} if in_bytes else {"text": text}


def cases():
    conversations = json.loads((DATA / "conversations.json").read_text())
    for file in sorted(DATA.glob("*.jinja")):
        for talk in conversations:
            for prompt in (False, True):
                result = rendered(file.read_text(), talk["messages"], talk.get("tools"), prompt, **talk.get("extra", {}))
                yield {"template": file.name, "conversation": talk["name"], "generation_prompt": prompt, **result}
    for source in json.loads((DATA / "snippets.json").read_text()):
        yield {"snippet": source, **rendered(source, [], **VARIABLES)}


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "cases.json"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases())
    output.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
