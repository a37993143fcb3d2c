"""What transformers computes for a model directory, and the golden.json that keeps it.

Everything is float32 with eager attention on one thread, whatever the directory stores. A sequence's rope length is its
final length (prompt plus new tokens) from the first step on, as in Sluice: tokens come from passes without a cache over
the sequence padded on the right to that length, so frequencies that depend on the length (dynamic, longrope) are the same
at every step.
"""
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import safetensors.torch
import torch
import transformers

torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

NEW_TOKENS = 24
F8_BLOCK = 128
COMPUTED = "float32, eager attention, CPU"
COMPUTED_WITH_LENGTH = COMPUTED + "; no cache: each step is a pass over the sequence padded to its final length"
LENGTH_DEPENDENT = ("dynamic", "longrope")


def read_tensors(directory):
    """Every tensor of a directory by name, as stored."""
    index = directory / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors = {}
    for name in names:
        tensors.update(safetensors.torch.load_file(directory / name))
    return tensors


def dequantised(tensors):
    """float32 in place of float8 weights with a scale for each block; the scales are gone."""
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(".weight_scale_inv"):
            continue
        if tensor.dtype == torch.float8_e4m3fn:
            scale = tensors[name + "_scale_inv"].repeat_interleave(F8_BLOCK, 0).repeat_interleave(F8_BLOCK, 1)
            tensor = tensor.float() * scale[: tensor.shape[0], : tensor.shape[1]]
        out[name] = tensor
    return out


def load(directory, dtype=torch.float32):
    """The directory's model; float8 weights are dequantised here, because transformers' own way is a GPU's."""
    directory = Path(directory)
    config = transformers.AutoConfig.from_pretrained(directory)
    if not hasattr(config, "quantization_config"):
        return open_model(directory, config, dtype)
    del config.quantization_config
    with tempfile.TemporaryDirectory() as plain:
        widened = {name: tensor.float() for name, tensor in dequantised(read_tensors(directory)).items()}
        safetensors.torch.save_file(widened, Path(plain) / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(plain)
        return open_model(plain, config, dtype)


def open_model(directory, config, dtype):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=dtype, attn_implementation="eager").eval()
    model.generation_config = transformers.GenerationConfig(pad_token_id=0)  # nothing ends a completion early
    return model


def rope_types(config):
    rope = getattr(config, "rope_parameters", None) or {}
    layers = [layer for layer in rope.values() if isinstance(layer, dict)] or [rope]
    return {layer.get("rope_type", "default") for layer in layers}


def depends_on_length(model):
    return bool(rope_types(model.config) & set(LENGTH_DEPENDENT))


def logits_of(model, ids):
    """[tokens, vocab] from one pass without a cache."""
    if depends_on_length(model):
        model(input_ids=torch.zeros(1, 1, dtype=torch.long), use_cache=False)  # forget the length of the pass before
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def greedy(model, prompt, new_tokens):
    ids, final = list(prompt), len(prompt) + new_tokens
    while len(ids) < final:
        padded = ids + [0] * (final - len(ids))
        ids.append(int(logits_of(model, padded)[len(ids) - 1].argmax()))
    return ids[len(prompt):]


@torch.no_grad()
def greedy_cached(model, prompt, new_tokens):
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens)
    return out[0, len(prompt):].tolist()


@torch.no_grad()
def golden_case(model, prompt, new_tokens):
    tokens = greedy(model, prompt, new_tokens)
    if not depends_on_length(model) and greedy_cached(model, prompt, new_tokens) != tokens:
        raise SystemExit("make_goldens: decoding with and without the cache disagree")
    ids = prompt + tokens
    scores = logits_of(model, ids)[:-1]
    logprobs = torch.log_softmax(scores.double(), -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
    rounded = [round(x, 7) for x in logprobs.tolist()]
    best = scores[len(prompt) - 1:].topk(2).values
    return {
        "prompt": prompt,
        "tokens": tokens,
        "prompt_logprobs": rounded[: len(prompt) - 1],
        "logprobs": rounded[len(prompt) - 1:],
        "smallest_margin": round((best[:, 0] - best[:, 1]).min().item(), 6),
        "last_logits": [round(x, 6) for x in scores[-1, :8].tolist()],
    }


def gradient_norms(model, case):
    model.zero_grad()
    ids, first = case["prompt"] + case["tokens"], len(case["prompt"]) - 1
    logprobs = torch.log_softmax(logits_of(model, ids)[:-1], -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
    (-logprobs[first:].mean()).backward()
    return {name: float(f"{p.grad.norm().item():.6g}") for name, p in model.named_parameters()}


def golden(directory, prompts, new_tokens=NEW_TOKENS):
    model = load(directory)
    cases = [golden_case(model, prompt, new_tokens) for prompt in prompts]
    return {
        "model_type": model.config.model_type,
        "computed": COMPUTED_WITH_LENGTH if depends_on_length(model) else COMPUTED,
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "cases": cases,
        "gradient_norms_of_last_case": gradient_norms(model, cases[-1]),
    }


def write_golden(path, values):
    """One case to a line."""
    head = {k: v for k, v in values.items() if k not in ("cases", "gradient_norms_of_last_case")}
    cases = ",\n  ".join(json.dumps(case) for case in values["cases"])
    norms = json.dumps(values["gradient_norms_of_last_case"])
    path.write_text(json.dumps(head)[:-1] + f',\n "cases": [\n  {cases}],\n "gradient_norms_of_last_case": {norms}}}\n')
