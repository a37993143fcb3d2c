"""Tiny models of random weights for every family and rope type that needs one, each with its golden.json.

  make_goldens.py --make DIR [NAME...]   makes the named ones (all) that DIR does not hold yet
  make_goldens.py --check DIR [NAME...]  recomputes what DIR holds and prints the largest difference

The weights are large, so that leaving a feature out moves the numbers. Some configurations are rewritten in the words of
published directories (`rope_scaling`, `rope_theta`, `torch_dtype`), which transformers 5 reads but no longer writes.
"""
import argparse
import json
import math
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
import transformers

import golden

WEIGHT_SCALE, VECTOR_SCALE, NORM_SCALE, ROUTER_BIAS_SCALE = 0.18, 0.5, 0.2, 0.2
WEIGHT_SEED, PROMPT_SEED = 5, 17
PROMPT_LENGTHS = (1, 5, 17, 40)

SHAPE = dict(vocab_size=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
             intermediate_size=48, max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-6,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
MLA = dict(num_key_value_heads=2, intermediate_size=56, moe_intermediate_size=20, kv_lora_rank=12, qk_rope_head_dim=8,
           qk_nope_head_dim=16, v_head_dim=12, first_k_dense_replace=1, n_routed_experts=8, tie_word_embeddings=False)


@dataclass
class Golden:
    config: str  # class of transformers
    changes: dict = field(default_factory=dict)  # to SHAPE
    dtype: str = "bfloat16"
    published: dict = field(default_factory=dict)  # keys of config.json in the words of published directories
    shards: int = 1
    mtp: bool = False  # tensors of one multi-token-prediction layer beside the model's
    float8: bool = False  # projections as float8 with a scale for each block


LONG = dict(short_factor=[1.0, 1.1, 1.3, 1.6, 2.0, 2.4, 2.9, 3.5], long_factor=[1.0, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 18.0])
YARN = dict(factor=4.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=0.7)

GOLDENS = {
    "llama_linear": Golden(
        "LlamaConfig", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
        published=dict(rope_theta=10000.0, rope_scaling=dict(type="linear", factor=4.0))),
    "llama_dynamic": Golden(
        "LlamaConfig", dict(max_position_embeddings=32, rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0)),
        published=dict(rope_theta=10000.0, rope_scaling=dict(rope_type="dynamic", factor=2.0))),
    "llama_bias": Golden("LlamaConfig", dict(attention_bias=True, mlp_bias=True)),
    "llama_f8": Golden(
        "LlamaConfig", dict(hidden_size=136, num_hidden_layers=1, head_dim=16, intermediate_size=144), float8=True, shards=3),
    "qwen2_window": Golden(
        "Qwen2Config", dict(use_sliding_window=True, sliding_window=8, max_window_layers=1),
        published=dict(rope_theta=10000.0)),
    "qwen3_window": Golden(
        "Qwen3Config", dict(head_dim=24, use_sliding_window=True, sliding_window=8, max_window_layers=1), shards=2),
    "qwen3_moe_mixed": Golden(
        "Qwen3MoeConfig", dict(head_dim=16, moe_intermediate_size=20, num_experts=6, num_experts_per_tok=3, norm_topk_prob=False,
                               decoder_sparse_step=1, mlp_only_layers=[0])),
    "qwen3_moe_sparse": Golden(
        "Qwen3MoeConfig", dict(head_dim=16, moe_intermediate_size=20, num_experts=6, num_experts_per_tok=2, norm_topk_prob=True,
                               decoder_sparse_step=2, mlp_only_layers=[], tie_word_embeddings=False),
        published=dict(rope_theta=1000000.0)),
    "gemma2_head": Golden(
        "Gemma2Config", dict(head_dim=24, sliding_window=8, query_pre_attn_scalar=40, final_logit_softcapping=None,
                             attn_logit_softcapping=4.0)),
    "gemma3_linear": Golden(
        "Gemma3TextConfig", dict(
            head_dim=16, sliding_window=8, query_pre_attn_scalar=24, layer_types=["sliding_attention", "full_attention"],
            rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=10000.0),
                                 full_attention=dict(rope_type="linear", rope_theta=1000000.0, factor=8.0))),
        published=dict(rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=dict(rope_type="linear", factor=8.0),
                       sliding_window_pattern=2)),
    "phi3_longrope": Golden(
        "Phi3Config", dict(original_max_position_embeddings=32, tie_word_embeddings=False,
                           rope_parameters=dict(rope_type="longrope", rope_theta=10000.0,
                                                original_max_position_embeddings=32, **LONG)),
        published=dict(rope_theta=10000.0, rope_scaling=dict(type="longrope", **LONG))),
    "phi3_partial": Golden(
        "Phi3Config", dict(original_max_position_embeddings=128, sliding_window=8,
                           rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.75)),
        published=dict(rope_theta=10000.0, rope_scaling=None, partial_rotary_factor=0.75)),
    "deepseek_v2": Golden(
        "DeepseekV2Config", dict(MLA, q_lora_rank=None, n_shared_experts=2, num_experts_per_tok=3, topk_method="greedy",
                                 norm_topk_prob=False, routed_scaling_factor=1.5),
        published=dict(rope_theta=10000.0, rope_scaling=None, scoring_func="softmax", moe_layer_freq=1)),
    "deepseek_v2_groups": Golden(
        "DeepseekV2Config", dict(MLA, q_lora_rank=16, n_shared_experts=1, num_experts_per_tok=3, topk_method="group_limited_greedy",
                                 n_group=4, topk_group=2, norm_topk_prob=False, routed_scaling_factor=4.0,
                                 rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, **YARN)),
        published=dict(rope_theta=10000.0, rope_scaling=dict(type="yarn", **YARN), scoring_func="softmax", moe_layer_freq=1)),
    "deepseek_yarn": Golden(
        "DeepseekV3Config", dict(MLA, v_head_dim=20, q_lora_rank=16, n_shared_experts=1, num_experts_per_tok=3, n_group=4,
                                 topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5, num_mtp_layers=0,
                                 rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, **YARN)),
        published=dict(rope_theta=10000.0, rope_scaling=dict(type="yarn", **YARN), scoring_func="sigmoid",
                       topk_method="noaux_tc", moe_layer_freq=1)),
    "deepseek_mtp": Golden(
        "DeepseekV3Config", dict(MLA, q_lora_rank=16, n_shared_experts=1, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
                                 topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.25, num_mtp_layers=1),
        published=dict(rope_theta=10000.0, rope_scaling=None, scoring_func="sigmoid", topk_method="noaux_tc",
                       num_nextn_predict_layers=1), mtp=True),
}


def fixed_prompts(vocab_size):
    generator = torch.Generator().manual_seed(PROMPT_SEED)
    return [torch.randint(3, vocab_size, (length,), generator=generator).tolist() for length in PROMPT_LENGTHS]


def random_model(spec):
    config = getattr(transformers, spec.config)(**{**SHAPE, **spec.changes})
    config.dtype = spec.dtype
    torch.manual_seed(WEIGHT_SEED)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter), alpha=NORM_SCALE)
            else:
                parameter.normal_(0.0, VECTOR_SCALE if parameter.dim() == 1 else WEIGHT_SCALE)
        model.to(getattr(torch, spec.dtype))
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):  # float32 in published directories too
                buffer.data = torch.randn(buffer.shape) * ROUTER_BIAS_SCALE
    return model


def mtp_layer(tensors, layers, hidden, dtype):
    """What DeepSeek-V3 stores for multi-token prediction: one more layer, with its own ends."""
    last = f"model.layers.{layers - 1}."
    extra = {name.replace(last, f"model.layers.{layers}."): tensor.flip(0).contiguous()
             for name, tensor in tensors.items() if name.startswith(last)}
    prefix = f"model.layers.{layers}."
    for name in ("enorm", "hnorm", "shared_head.norm"):
        extra[prefix + name + ".weight"] = torch.ones(hidden, dtype=dtype)
    extra[prefix + "eh_proj.weight"] = torch.randn(hidden, 2 * hidden).mul(WEIGHT_SCALE).to(dtype)
    extra[prefix + "embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    extra[prefix + "shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    return extra


def short_scale(value):
    """The next number above with four significant bits: times a float8 it is a bfloat16, so that no type rounds it."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.ceil(mantissa * 16) / 16, exponent)


def float8_tensors(tensors):
    """Each projection in float8 with `weight_scale_inv`, a factor for each block of 128 x 128."""
    largest = torch.finfo(torch.float8_e4m3fn).max
    out = dict(tensors)
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            continue
        rows, columns = (-(-size // golden.F8_BLOCK) for size in tensor.shape)
        scale = torch.empty(rows, columns)
        stored = torch.empty(tensor.shape, dtype=torch.float8_e4m3fn)
        for r in range(rows):
            for c in range(columns):
                at = (slice(r * golden.F8_BLOCK, (r + 1) * golden.F8_BLOCK), slice(c * golden.F8_BLOCK, (c + 1) * golden.F8_BLOCK))
                block = tensor[at].float() * (1 + r + 2 * c)  # blocks of different scale: a wrong one shows
                scale[r, c] = short_scale(block.abs().max().item() / largest)
                stored[at] = (block / scale[r, c]).to(torch.float8_e4m3fn)
        out[name], out[name + "_scale_inv"] = stored, scale
    return out


def write_shards(directory, tensors, count):
    names = list(tensors)
    parts = [{name: tensors[name] for name in names[i::count]} for i in range(count)]
    files = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    for file, part in zip(files, parts):
        safetensors.torch.save_file(part, directory / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())},
             "weight_map": {name: file for file, part in zip(files, parts) for name in part}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    (directory / "model.safetensors").unlink()


def rewrite_config(path, spec):
    config = json.loads(path.read_text())
    if spec.float8:
        config["quantization_config"] = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic",
                                             weight_block_size=[golden.F8_BLOCK, golden.F8_BLOCK])
    if spec.published:
        config.pop("rope_parameters", None)
        config.pop("layer_types", None)
        config.pop("_sliding_window_pattern", None)
        config["torch_dtype"] = config.pop("dtype")
        config.update(spec.published)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_model(name, directory):
    spec = GOLDENS[name]
    model = random_model(spec)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    tensors = golden.read_tensors(directory)
    if spec.mtp:
        layers, hidden = model.config.num_hidden_layers, model.config.hidden_size
        tensors.update(mtp_layer(tensors, layers, hidden, getattr(torch, spec.dtype)))
    if spec.float8:
        tensors = float8_tensors(tensors)
    if spec.shards > 1:
        write_shards(directory, tensors, spec.shards)
    elif spec.mtp or spec.float8:
        safetensors.torch.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    rewrite_config(directory / "config.json", spec)


def make(root, names):
    for name in names or GOLDENS:
        directory = root / name
        if (directory / "golden.json").exists():
            continue
        shutil.rmtree(directory, ignore_errors=True)  # what an interrupted run left
        directory.mkdir(parents=True)
        make_model(name, directory)
        values = golden.golden(directory, fixed_prompts(SHAPE["vocab_size"]))
        golden.write_golden(directory / "golden.json", values)
        size = sum(file.stat().st_size for file in directory.iterdir())
        margins = min(case["smallest_margin"] for case in values["cases"])
        print(f"{name}: {size} bytes, smallest margin {margins}")


def largest_difference(old, new):
    worst = 0.0
    for a, b in zip(old["cases"], new["cases"], strict=True):
        if a["tokens"] != b["tokens"]:
            return float("inf")
        for key in ("prompt_logprobs", "logprobs", "last_logits"):
            worst = max([worst] + [abs(x - y) for x, y in zip(a[key], b[key], strict=True)])
    return worst


def check(root, names):
    """Number of directories whose golden is not what transformers computes now."""
    wrong = 0
    for path in sorted(root.glob("*/golden.json")):
        if names and path.parent.name not in names:
            continue
        old = json.loads(path.read_text())
        new = golden.golden(path.parent, [case["prompt"] for case in old["cases"]], len(old["cases"][0]["tokens"]))
        difference = largest_difference(old, new)
        wrong += difference > 1e-5
        print(f"{path.parent.name}: largest difference {difference:.2g}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, metavar="DIR")
    parser.add_argument("--check", type=Path, metavar="DIR")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if args.make:
        make(args.make, args.names)
    if args.check:
        sys.exit(1 if check(args.check, args.names) else 0)


if __name__ == "__main__":
    main()
