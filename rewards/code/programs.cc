#include "rewards/code/programs.h"

namespace sluice::rewards::code {

const char* const kScript = R"py(
import os
os.write(2, b"started\n")
with os.fdopen(3, "rb") as file:
    code = file.read()
del file
exec(compile(code, "solution.py", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
)py";

const char* const kSolution = R"py(
import builtins, json, os

def serve():
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    with os.fdopen(3, "rb") as file:
        code = file.read()
    kept = []  # what does not leave: its number goes in its place

    def pack(value):
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return ["int", hex(value)]
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        if isinstance(value, (bytes, bytearray)):
            return ["bytes", bytes(value).hex()]
        for name, kind in (("list", list), ("tuple", tuple), ("set", (set, frozenset))):
            if isinstance(value, kind):
                return [name, [pack(item) for item in value]]
        if isinstance(value, dict):
            return ["dict", [[pack(key), pack(item)] for key, item in value.items()]]
        if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
            return pack(value.tolist())
        kept.append(value)
        return ["object", len(kept) - 1]

    def unpack(value):
        if not isinstance(value, list):
            return value
        kind, *rest = value
        if kind == "int":
            return int(rest[0], 16)
        if kind == "complex":
            return complex(*rest)
        if kind == "bytes":
            return bytes.fromhex(rest[0])
        if kind == "dict":
            return {unpack(key): unpack(item) for key, item in rest[0]}
        if kind == "object":
            return kept[rest[0]]
        if kind == "builtin":
            return getattr(builtins, rest[0])
        return {"list": list, "tuple": tuple, "set": set}[kind](unpack(item) for item in rest[0])

    def name_of(name):
        if name not in world:
            raise NameError(name)
        return world[name]

    asked = {
        "name": name_of,
        "call": lambda function, arguments, named: function(*arguments, **named),
        "attribute": getattr,
        "set": setattr,
        "item": lambda value, key: value[key],
        "items": list,
        "length": len,
        "text": str,
    }

    def reply(value):
        replies.write(json.dumps(value).encode() + b"\n")
        replies.flush()

    def attempt(work):
        try:
            answer = {"value": pack(work())}
        except BaseException as error:
            answer = {"raise": type(error).__name__}
        reply(answer)

    reply({"started": True})
    world = {"__name__": "solution", "__builtins__": __builtins__}
    attempt(lambda: exec(compile(code, "solution.py", "exec"), world))
    for line in requests:
        what, *operands = json.loads(line)
        attempt(lambda: asked[what](*map(unpack, operands)))

serve()
)py";

const char* const kJudge = R"py(
import ast, builtins, importlib, json, os, sys

REPLY_BYTES = 4 << 20

# What a test may be out for; StopIteration would end its own loops.
EXPECTED = {"ArithmeticError", "AssertionError", "AttributeError", "EOFError", "Exception", "IndexError", "KeyError",
            "LookupError", "NameError", "NotImplementedError", "OSError", "OverflowError", "RecursionError",
            "RuntimeError", "TypeError", "ValueError", "ZeroDivisionError"}

class Gone(BaseException):
    """The solution ended, or says what is no answer."""

class Unsupported(BaseException):
    """The test cannot be put to a solution behind a wall."""

verdicts, replies, requests = (os.fdopen(os.dup(fd), mode) for fd, mode in ((2, "w"), (0, "rb"), (1, "wb")))
nothing = os.open(os.devnull, os.O_RDWR)
for stream in range(3):
    os.dup2(nothing, stream)

def say(verdict):
    print(verdict.replace("\n", " "), file=verdicts, flush=True)

class Remote:
    """An object that stays with the solution."""
    def __init__(self, number): object.__setattr__(self, "_number", number)
    def __setattr__(self, name, value): ask("set", self, name, value)
    def __call__(self, *arguments, **named): return ask("call", self, list(arguments), named)
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return ask("attribute", self, name)
    def __iter__(self): return iter(expect(list, ask("items", self)))
    def __len__(self): return expect(int, ask("length", self))
    def __getitem__(self, key): return ask("item", self, key)
    def __bool__(self): return True
    def __str__(self): return expect(str, ask("text", self))

def expect(kind, value):
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value

def pack(value):
    kind = type(value)
    if value is None or kind in (bool, float, str):
        return value
    if kind is int:
        return ["int", hex(value)]
    if kind is complex:
        return ["complex", value.real, value.imag]
    if kind in (bytes, bytearray):
        return ["bytes", value.hex()]
    if kind in (list, tuple, set, frozenset):
        return ["set" if kind is frozenset else kind.__name__, [pack(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", [[pack(key), pack(item)] for key, item in value.items()]]
    if kind is Remote:
        return ["object", value._number]
    name = getattr(value, "__name__", None)
    if isinstance(name, str) and getattr(builtins, name, None) is value:
        return ["builtin", name]
    if isinstance(value, (range, map, filter, zip, type({}.keys()), type({}.values()), type({}.items()))):
        return pack(list(value))
    raise Unsupported(f"hands a {kind.__name__} to the solution")

def unpack(value):
    if value is None or type(value) in (bool, float, str):
        return value
    kind, *rest = value
    if kind == "int":
        return int(rest[0], 16)
    if kind == "complex":
        return complex(*rest)
    if kind == "bytes":
        return bytes.fromhex(rest[0])
    if kind == "dict":
        return {unpack(key): unpack(item) for key, item in rest[0]}
    if kind == "object":
        return Remote(expect(int, rest[0]))
    return {"list": list, "tuple": tuple, "set": set}[kind](unpack(item) for item in rest[0])

def listen():
    line = replies.readline(REPLY_BYTES)
    if not line.endswith(b"\n"):
        raise Gone
    return json.loads(line)

def answer():
    reply = listen()
    if "raise" in reply:
        name = str(reply["raise"])
        raise (getattr(builtins, name) if name in EXPECTED else RuntimeError)(name)
    return unpack(reply["value"])

asked = 0

def ask(what, *operands):
    global asked
    asked += 1
    line = json.dumps([what, *map(pack, operands)]).encode() + b"\n"
    try:
        requests.write(line)
        requests.flush()
    except OSError:
        raise Gone
    return answer()

# The names in a test that are the solution's: those that nobody else gives a meaning. A solution's own idea of
# `set` or `math` is not asked for; only where a test has nothing else of the solution's is the first one called
# its, as in `assert sum(10, 15) == 6`.
def bind(tree, world, is_test):
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    own = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif isinstance(node, ast.alias):
            own.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            own.add(node.name)
    roots = {node.value.id for node in ast.walk(tree)
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    free = {node.id for node in names} - own - world.keys() - set(dir(builtins))
    for name in roots & free & sys.stdlib_module_names:
        world[name] = importlib.import_module(name)
        free.discard(name)
    if is_test and not free and not any(type(value) is Remote for value in world.values()):
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        calls = [node for node in calls if node.func.id not in own and node.func.id not in world]
        if calls:
            free = {min(calls, key=lambda node: (node.lineno, node.col_offset)).func.id}
    for name in sorted(free):
        world[name] = ask("name", name)

def run_statements(text, world, is_test):
    try:
        tree = ast.parse(text)
        statements = compile(tree, "tests", "exec")
    except (SyntaxError, ValueError) as error:
        raise Unsupported(f"is no Python: {error}")
    bind(tree, world, is_test)
    exec(statements, world)

def run_code(text, setup):
    world, before = {"__name__": "tests"}, asked
    try:
        run_statements(setup, world, is_test=False)
    except Exception as error:
        if asked > before:
            raise
        raise Unsupported(f"cannot be set up: {type(error).__name__}: {error}")
    run_statements(text, world, is_test=True)

def as_lists(value):
    if isinstance(value, (list, tuple)):
        return [as_lists(item) for item in value]
    return {key: as_lists(item) for key, item in value.items()} if isinstance(value, dict) else value

def run_function(name, arguments, expected):
    try:
        function = ask("name", name)
    except NameError:
        function = getattr(ask("name", "Solution")(), name)
    found = as_lists(function(*arguments))
    assert found == expected or (isinstance(expected, list) and len(expected) == 1 and found == expected[0])

def passes(test, setup):
    try:
        if "code" in test:
            run_code(test["code"], setup)
        else:
            run_function(test["function"], test["arguments"], test["expected"])
        return True
    except (Gone, Unsupported):
        raise
    except BaseException:
        return False

def main():
    say("started")
    with os.fdopen(3, "rb") as file:
        job = json.load(file)
    try:
        listen()
    except Gone:
        return say("absent")
    try:
        answer()
    except Exception:
        return say("unloaded")
    for test in job["tests"]:
        passed = passes(test, job["setup"])
        say("pass" if passed else "fail")
        if not passed and not job["partial"]:
            return

try:
    main()
except Gone:
    say("gone")
except Unsupported as error:
    say(f"unsupported {error}")
)py";

}  // namespace sluice::rewards::code
