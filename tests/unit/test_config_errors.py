"""A bad config names file, line, key, value, what is allowed, and the nearest valid name."""

from pathlib import Path

import pytest
from good_config import GOOD, SHA

from llmpi.quant_types import FTYPES, ROUNDABLE, TENSOR_TYPES
from llmpi.study.file import ConfigError, load_study, parse_study

QUANTS = ", ".join([*FTYPES, "as-published"])
TOP = (
    "study, models, quants, calibration, mix, rounding, qat, devices, workloads, runtimes, "
    "engines, tune, quality, scored_with, gates, descent, constraints, cost, service, battery, "
    "languages, exclude"
)
WORKLOAD = (
    "repetitions, warmup, warmup_limit, sampling, timeout_s, kind, prompt_tokens, output_tokens, "
    "prompt, depths, sustained_s, context_tokens"
)
USERS = "users: {kind: concurrent, conversations: [1, 4], prompt_tokens: 8, output_tokens: 8}"

SERVED = "{url: 'http://x/v1', serves: [{model: m1, quant: Q4_0, name: m}]}"

BAD = {
    "unknown quantization": (
        ("Q4_0", "Q4_KM"),
        "5: quants.1: 'Q4_KM' is no quantization type of llama.cpp; did you mean 'Q4_K_M'? "
        f"Allowed: {QUANTS}",
    ),
    "alias of a quantization": (("Q4_0", "Q4_K"), "5: quants.1: 'Q4_K' is spelled 'Q4_K_M'"),
    "quantization without its matrix": (
        ("Q4_0", "IQ2_XS"),
        "5: quants.1: 'IQ2_XS' needs an importance matrix: write 'IQ2_XS+imatrix'",
    ),
    "matrix that changes nothing": (
        ("Q4_0", "Q8_0+imatrix"),
        "5: quants.1: Q8_0 is the same with and without an importance matrix",
    ),
    "matrix of no text": (
        ("Q4_0", "Q4_0+imatrix"),
        "1: (the whole file): Q4_0+imatrix needs an importance matrix: add the section "
        "'calibration', with a 'text'",
    ),
    "mix by no budget": (
        ("Q4_0", "MIX-4.50bpw"),
        "5: quants.1: 'MIX-4.50bpw' is no budget: write MIX-4.5bpw (bits per weight), MIX-700M "
        "(bytes; M and G), MIX-12tps-DEVICE (tokens per second on it), MIX-0.02nats or "
        "MIX-0.02nats-DEVICE (divergence), without zeros that say nothing",
    ),
    "mix of less than a byte": (
        ("Q4_0", "MIX-0.0000001M"),
        "5: quants.1: 'MIX-0.0000001M' is no budget: write MIX-4.5bpw (bits per weight), MIX-700M "
        "(bytes; M and G), MIX-12tps-DEVICE (tokens per second on it), MIX-0.02nats or "
        "MIX-0.02nats-DEVICE (divergence), without zeros that say nothing",
    ),
    "mix for a device by a name as of a training": (
        ("Q4_0", "MIX-12tps-here-qat"),
        "5: quants.1: no device 'here-qat' under 'devices'; did you mean 'here'? Allowed: here",
    ),
    "mix for a device that is not there": (
        ("Q4_0", "MIX-12tps-hare"),
        "5: quants.1: no device 'hare' under 'devices'; did you mean 'here'? Allowed: here",
    ),
    "mix for a group": (
        (
            "[F16, Q4_0]\ndevices:\n",
            "[F16, MIX-12tps-shelf]\ndevices:\n"
            "  shelf: {transport: ssh-group, boards: {a: pi-a.local}}\n",
        ),
        "5: quants.1: shelf is a group, and its boards differ: name one of them, such as shelf.a",
    ),
    "mix for what is behind an endpoint alone": (
        (
            "[F16, Q4_0]\n",
            f"[F16, Q4_0, MIX-12tps-here]\nruntimes:\n  r: {{endpoint: {SERVED}}}\n",
        ),
        "5: quants.2: what stands behind an endpoint tells no time of a type: MIX-12tps-here needs "
        "a runtime of llmpi's own engine",
    ),
    "mix as wide as the original": (
        ("Q4_0", "MIX-16bpw"),
        "5: quants.1: 'MIX-16bpw' is no narrower than the F16 it would be made of: ask for less "
        "than 16 bits per weight",
    ),
    "mix that is trained": (
        ("Q4_0", "MIX-4bpw-qat"),
        "5: quants.1: a mix is not trained for: write 'MIX-4bpw'",
    ),
    "mix on no text": (
        ("Q4_0", "MIX-700M"),
        "1: (the whole file): the types of MIX-700M are searched on a text: add the section "
        "'calibration', with a 'text'",
    ),
    "mix of what is no type of a tensor": (
        ("quants:", "mix: {types: [Q4_K_M]}\nquants:"),
        "5: mix.types.0: 'Q4_K_M' is not possible here; did you mean 'Q4_K'? Allowed: "
        f"{', '.join(TENSOR_TYPES)}",
    ),
    "mix of a type twice": (
        ("quants:", "mix: {types: [Q4_K, Q4_K]}\nquants:"),
        "5: mix.types: 'Q4_K' stands here twice",
    ),
    "rounding of a type whose rounding cannot be learned": (
        ("Q4_0", "Q6_K+round"),
        f"5: quants.1: the rounding of Q6_K cannot be learned; it can of {', '.join(ROUNDABLE)}",
    ),
    "rounding of a mix": (
        ("Q4_0", "MIX-4bpw+round+imatrix"),
        "5: quants.1: the rounding of a mix is not learned: write 'MIX-4bpw+imatrix'",
    ),
    "rounding on no text": (
        ("Q4_0", "Q4_0+round"),
        "1: (the whole file): the rounding of Q4_0+round is learned on a text: add the section "
        "'calibration', with a 'text'",
    ),
    "training with an importance matrix": (
        ("Q4_0", "Q4_0-qat+imatrix"),
        "5: quants.1: training for a type looks at no importance matrix: write 'Q4_0-qat'",
    ),
    "blocks with nothing to imitate": (
        (
            "quants:",
            "qat: {text: {python_topics: true}, training: {distill: false, by_block: true}}\n"
            "quants:",
        ),
        "5: qat.training: 'by_block' needs a teacher: set 'distill' to true, or it to false",
    ),
    "training for nothing": (
        ("Q4_0", "F16-qat"),
        "5: quants.1: F16 has nothing to be trained for",
    ),
    "training on no text": (
        ("Q4_0", "Q4_0-qat"),
        "1: (the whole file): Q4_0-qat is to be trained: add the section 'qat', with a 'text'",
    ),
    "training in parts that do not divide": (
        ("quants:", "qat: {text: {python_topics: true}, training: {accumulation: 3}}\nquants:"),
        "5: qat.training: 'accumulation' must divide 'sequences', 4",
    ),
    "distance from a teacher that is not there": (
        (
            "quants:",
            "qat: {text: {python_topics: true}, training: {distill: false, hidden_weight: 1}}\n"
            "quants:",
        ),
        "5: qat.training: 'hidden_weight' needs a teacher: set 'distill' to true, or it to 0",
    ),
    "neither thinking nor not": (
        ("    source:", "    thinking: maybe\n    source:"),
        "4: models.m1.thinking: 'maybe' is not possible here; allowed: off, on",
    ),
    "a thought of no tokens": (
        ("    source:", "    thinking: {tokens: 0}\n    source:"),
        "4: models.m1.thinking.tokens: 0: should be greater than or equal to 16",
    ),
    "a thought that fills the context": (
        ("    source:", "    thinking: {tokens: 4080}\n    source:"),
        "4: models.m1.thinking: 4080 tokens of thought and an answer leave no room for a prompt in "
        "the 4096 tokens of quality.field.context_tokens: raise those, or think less",
    ),
    "text that is scored": (
        (
            "field: {task: squad, squad_file: questions.json}",
            "topics: {task: divergence, python_topics: true, to_pct: 20}\n"
            "qat: {text: {python_topics: true, from_pct: 10}}",
        ),
        "12: qat.text: 'qat' reads the text that the task 'topics' scores, which would flatter "
        "what is made with it; give each a part of its own with from_pct and to_pct",
    ),
    "vocabulary of nothing": (
        (
            "quants:",
            "  m2: {source: {scratch: llama, vocabulary_of: m3}}\n"
            "qat: {text: {python_topics: true}}\nquants:",
        ),
        "5: models.m2.source.vocabulary_of: no model that exists 'm3' under 'models'; did you mean "
        "'m1'? Allowed: m1",
    ),
    "quantization twice": (("Q4_0", "F16"), "5: quants: 'F16' stands here twice"),
    "unknown device in exclude": (
        ("quality:", "exclude: [{device: hier}]\nquality:"),
        "10: exclude.0.device: no device 'hier' under 'devices'; did you mean 'here'? "
        "Allowed: here",
    ),
    "engine that is not there": (
        ("{transport: local}", "{transport: ssh, host: pi, engine: {wheel: gone.whl}}"),
        "7: devices.here.engine.wheel: there is no file or folder 'gone.whl'",
    ),
    "engine of an unknown kind": (
        ("{transport: local}", "{transport: ssh, host: pi, engine: nativ}"),
        "7: devices.here.engine: 'nativ' is not possible here; did you mean 'native'? "
        "Allowed: auto, cross, native",
    ),
    "meter of an unknown kind": (
        ("{transport: local}", "{transport: local, meter: {kind: pmc}}"),
        "7: devices.here.meter: kind: 'pmc'; did you mean 'pmic'? Allowed: none, pmic, hwmon, "
        "rapl, tasmota, shelly, csv, constant",
    ),
    "size without a unit": (
        ("{transport: local}", "{transport: ssh, host: pi, quota: 16GB}"),
        "7: devices.here.quota: '16GB': should be a size, such as 16G",
    ),
    "everything excluded": (
        ("quality:", "exclude: [{device: here}]\nquality:"),
        "10: exclude: nothing of the sweep is left",
    ),
    "gate on a missing task": (
        ("quality:", "gates: [{task: feld, at_least_pct: 3}]\nquality:"),
        "10: gates.0.task: no squad task 'feld' under 'quality'; did you mean 'field'? "
        "Allowed: field",
    ),
    "id twice": (
        ("quants:", "  m1:\n    source: {path: x}\nquants:"),
        "5: models.m1: stands here twice",
    ),
    "id that is no slug": (
        ("m1:", "My Model:"),
        "3: models.My Model: 'My Model': an id is lower-case letters and digits joined by '.', "
        "'_' or '-' (it names files); try 'my-model'",
    ),
    "typo in a key": (
        ("prompt_tokens: 128", "prompt_tokens: 128, repetition: 3"),
        "9: workloads.chat.repetition: unknown key; did you mean 'repetitions'? "
        f"Allowed: {WORKLOAD}",
    ),
    "typo at the top": (
        ("quality:", "qualty:"),
        f"10: qualty: unknown key; did you mean 'quality'? Allowed: {TOP}",
    ),
    "key of another transport": (
        ("local}", "local, host: pi}"),
        "7: devices.here.host: unknown key; allowed: threads, preset, storage, meter, idle_s, "
        "cool_below_c, cool_limit_s, others_at_most_pct, transport, store, limits",
    ),
    "unknown transport": (
        ("transport: local", "transport: sssh"),
        "7: devices.here: transport: 'sssh'; did you mean 'ssh'? Allowed: local, ssh, ssh-group",
    ),
    "wrong kind of value": (
        ("128", "many"),
        "9: workloads.chat.prompt_tokens: 'many': should be a valid integer, unable to parse "
        "string as an integer",
    ),
    "value out of range": (
        ("64}", "0}"),
        "9: workloads.chat.output_tokens: 0: should be greater than or equal to 1",
    ),
    "context too small": (
        ("64}", "64, context_tokens: 100}"),
        "9: workloads.chat: context_tokens is 100, but prompt (or depth) and output tokens are 192",
    ),
    "passage too short to be copied": (
        ("{prompt_tokens: 128", "{prompt: passage, prompt_tokens: 32"),
        "9: workloads.chat: prompt: passage needs at least 64 prompt_tokens, a text to go on with",
    ),
    "lookup of nothing": (
        ("quality:", "runtimes:\n  r: {prompt_lookup: {ngram: 0}}\nquality:"),
        "11: runtimes.r.prompt_lookup.ngram: 0: should be greater than or equal to 1",
    ),
    "draft larger than the batch": (
        (
            "quality:",
            "runtimes:\n  r: {kv_cache: q8_0, batch_tokens: 8, ubatch_tokens: 8, "
            "prompt_lookup: {draft_tokens: 8}}\nquality:",
        ),
        "11: runtimes.r: draft_tokens is 8; with the token before them they do not fit "
        "batch_tokens, which is 8",
    ),
    "lookup whose text would be another": (
        ("quality:", "runtimes:\n  r: {prompt_lookup: {}}\nquality:"),
        "11: runtimes.r: prompt_lookup needs a quantized kv_cache, such as q8_0: with f16 the "
        "engine adds up a single token's attention in another order than that of a batch, and the "
        "text would not be that of greedy decoding",
    ),
    "drafts whose text would be another": (
        ("quality:", "runtimes:\n  r: {draft: {quant: Q4_0}}\nquality:"),
        "11: runtimes.r: draft needs a quantized kv_cache, such as q8_0: with f16 the "
        "engine adds up a single token's attention in another order than that of a batch, and the "
        "text would not be that of greedy decoding",
    ),
    "two that draft": (
        (
            "quality:",
            "runtimes:\n  r: {kv_cache: q8_0, prompt_lookup: {}, draft: {quant: Q4_0}}\nquality:",
        ),
        "11: runtimes.r: prompt_lookup and draft both draft tokens: choose one, or make two "
        "runtimes",
    ),
    "a search beside a draft model": (
        (
            "quality:",
            "runtimes:\n  r: {kv_cache: q8_0, tune: true, draft: {quant: Q4_0}}\nquality:",
        ),
        "11: runtimes.r: a search measures one model alone: tune a runtime without draft, and give "
        "this one the settings that are found",
    ),
    "draft of a quantization that is none of the study": (
        ("quality:", "runtimes:\n  r: {kv_cache: q8_0, draft: {quant: Q2_K}}\nquality:"),
        "11: runtimes.r.draft.quant: no quant 'Q2_K' under 'quants'; did you mean 'Q4_0'? "
        "Allowed: F16, Q4_0",
    ),
    "draft for nobody but itself": (
        (
            "quants: [F16, Q4_0]",
            "quants: [Q4_0]\nruntimes: {r: {kv_cache: q8_0, draft: {quant: Q4_0}}}",
        ),
        "6: runtimes.r.draft.quant: Q4_0 is the only variant, and would draft for itself: add a "
        "wider one to quants",
    ),
    "draft of an unknown model": (
        (
            "quality:",
            "runtimes:\n  r: {kv_cache: q8_0, draft: {model: tiny, quant: Q4_0}}\nquality:",
        ),
        "11: runtimes.r.draft.model: no model 'tiny' under 'models'; allowed: m1",
    ),
    "quantized KV cache without flash attention": (
        ("quality:", "runtimes:\n  r: {kv_cache: q8_0, flash_attention: off}\nquality:"),
        "11: runtimes.r: kv_cache q8_0 needs flash_attention: auto or on",
    ),
    "unknown KV cache": (
        ("quality:", "runtimes:\n  r: {kv_cache: q8}\nquality:"),
        "11: runtimes.r.kv_cache: 'q8' is not possible here; did you mean 'q8_0'? Allowed: "
        "f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl",
    ),
    "tuned for an unknown workload": (
        ("quality:", "tune: {weights: {chatt: 1}}\nquality:"),
        "10: tune.weights.chatt: no workload 'chatt' under 'workloads'; did you mean 'chat'? "
        "Allowed: chat",
    ),
    "tuned for joules without a meter of the device's own": (
        ("quality:", "runtimes: {r: {tune: true}}\ntune: {objective: energy}\nquality:"),
        "11: tune.objective: energy needs a meter that the device reads itself (pmic, hwmon or "
        "rapl), and devices.here.meter is of kind none: give it one, or tune for total",
    ),
    "unknown key of a search": (
        ("quality:", "tune: {space: {thread: [2]}}\nquality:"),
        "10: tune.space.thread: unknown key; did you mean 'threads'? Allowed: threads, "
        "batch_tokens, ubatch_tokens, kv_cache, flash_attention, mmap, repack, omp_wait_policy, "
        "prompt_lookup",
    ),
    "locked and repacked": (
        ("quality:", "runtimes:\n  r: {mlock: true}\nquality:"),
        "11: runtimes.r: mlock needs repack: false; llama.cpp locks no repacked weights",
    ),
    "locked and read on demand": (
        ("quality:", "runtimes:\n  r: {mlock: true, repack: false, lazy: on}\nquality:"),
        "11: runtimes.r: mlock has the whole file in memory, and lazy: on would leave a part of it "
        "out: choose one",
    ),
    "no way to be lazy": (
        ("quality:", "runtimes:\n  r: {lazy: all}\nquality:"),
        "11: runtimes.r.lazy: 'all' is not possible here; allowed: auto, on, off",
    ),
    "micro-batch larger than the batch": (
        ("quality:", "runtimes:\n  r: {ubatch_tokens: 4096}\nquality:"),
        "11: runtimes.r: ubatch_tokens is 4096, more than batch_tokens, which is 2048",
    ),
    "endpoint with settings of ours": (
        ("quality:", f"runtimes:\n  r: {{threads: 2, endpoint: {SERVED}}}\nquality:"),
        "11: runtimes.r: an endpoint runs as it was started: threads would set nothing there",
    ),
    "endpoint that serves no variant": (
        (
            "quality:",
            f"runtimes:\n  r: {{endpoint: {SERVED.replace('Q4_0', 'Q8_0')}}}\nquality:",
        ),
        "11: runtimes.r.endpoint.serves.0.quant: no quant 'Q8_0' under 'quants'; did you mean "
        "'Q4_0'? Allowed: F16, Q4_0",
    ),
    "endpoint with a key in its config": (
        ("quality:", "runtimes:\n  r: {endpoint: " + SERVED[:-1] + ", key: abc}}\nquality:"),
        "11: runtimes.r.endpoint.key: unknown key; allowed: url, api, key_variable, serves",
    ),
    "endpoint with a password": (
        (
            "quality:",
            f"runtimes:\n  r: {{endpoint: {SERVED.replace('//', '//a:b@')}}}\nquality:",
        ),
        "11: runtimes.r.endpoint.url: an address holds no user and no password: a config is shown "
        "to others; put the key into an environment variable, and name that: key_variable",
    ),
    "endpoint with a key in what is no address": (
        (
            "quality:",
            f"runtimes:\n  r: {{endpoint: {SERVED.replace('http://x', 'x?key=abc')}}}\nquality:",
        ),
        "11: runtimes.r.endpoint.url: this address does not look right; it must match "
        "^https?://[^\\s\\x00-\\x1f\\x7f]+$",
    ),
    "endpoint with a key in its address": (
        (
            "quality:",
            f"runtimes:\n  r: {{endpoint: {SERVED.replace('/v1', '/v1?key=abc')}}}\nquality:",
        ),
        "11: runtimes.r.endpoint.url: an address ends with its path, and what is asked there is "
        "not the config's: leave out what begins with ? or #; a key goes into an environment "
        "variable: key_variable",
    ),
    **{
        f"endpoint at {address}": (
            (
                "quality:",
                f"runtimes:\n  r: {{endpoint: {SERVED.replace('http://x/v1', address)}}}\nquality:",
            ),
            "11: runtimes.r.endpoint.url: this is no address of a server, such as "
            "http://127.0.0.1:8080/v1: it names a host, a port up to 65535 if it is another one, "
            "and a path in ASCII",
        )
        for address in ("http:///v1", "http://a:99999/v1", "http://[::1/v1", "http://a/ü")
    },
    "path out of the archive": (
        ("a/b.gguf", "../b.gguf"),
        "4: models.m1.source.file: '../b.gguf': the path must be relative and must not hold '..'",
    ),
    "hash that is none": (
        (SHA, "abc"),
        "4: models.m1.source.sha256: 'abc' does not look right; it must match ^[0-9a-f]{64}$",
    ),
    "file that is not there": (
        ("questions.json", "nowhere.json"),
        "11: quality.field.squad_file: there is no file or folder 'nowhere.json'",
    ),
    "constraint on a missing workload": (
        ("quality:", "constraints: {workload: chta}\nquality:"),
        "10: constraints.workload: no single workload 'chta' under 'workloads'; did you mean "
        "'chat'? Allowed: chat",
    ),
    "decision on conversations side by side": (
        ("quality:", f"  {USERS}\nconstraints: {{workload: users}}\nquality:"),
        "11: constraints.workload: no single workload 'users' under 'workloads'; allowed: chat",
    ),
    "kind of workload that is none": (
        ("{prompt", "{kind: concurent, prompt"),
        "9: workloads.chat: kind: 'concurent'; did you mean 'concurrent'? Allowed: single, "
        "concurrent, conversation, answers",
    ),
    "sample of no task": (
        ("quality:", "  real: {kind: answers, task: feild}\nquality:"),
        "10: workloads.real.task: no task with questions 'feild' under 'quality'; did you mean "
        "'field'? Allowed: field",
    ),
    "second sample of a task": (
        (
            "quality:",
            "  real: {kind: answers, task: field}\n  more: {kind: answers, task: field}\nquality:",
        ),
        "11: workloads.more.task: real has a sample of 'field' already: one is enough, with more "
        "questions",
    ),
    "sample of more than is asked": (
        (
            "quality:\n  field: {",
            "  real: {kind: answers, task: field, questions: 30}\n"
            "quality:\n  field: {questions: 20, ",
        ),
        "10: workloads.real.questions: 'field' asks 20 questions, and no 30 can be drawn of them",
    ),
    "sample of answers that are held to a form": (
        (
            "quality:\n  field: {task: squad, squad_file: questions.json}",
            "  real: {kind: answers, task: mine}\n"
            "quality:\n  mine: {task: ab, prompts: questions.json, grammar: true}",
        ),
        "10: workloads.real.task: answers of 'mine' are made with grammar, as no device makes "
        "them here: a task without it can be sampled",
    ),
    "conversations that do not rise": (
        ("quality:", f"  {USERS}\nquality:".replace("1, 4", "4, 1, 4")),
        "10: workloads.users.conversations: the numbers must rise: [1, 4]",
    ),
    "nothing but conversations side by side": (
        ("chat: {prompt", "chat: {kind: concurrent, conversations: [1], prompt"),
        "8: workloads: one workload of the kind single is needed, beside which other kinds are "
        "shown",
    ),
    "constraint that is none": (
        ("quality:", "constraints: {tps_at_last: 3}\nquality:"),
        "10: constraints.tps_at_last: unknown key; did you mean 'tps_at_least'? Allowed: workload, "
        "task, confidence_pct, prefer, tps_at_least, ttft_at_most, itl_p95_at_most, "
        "answer_s_at_most, answer_s_p95_at_most, f1_drop_at_most, memory_at_most, power_at_most, "
        "j_per_token_at_most, j_per_right_answer_at_most, battery_hours_at_least",
    ),
    "answers of nothing that is asked": (
        (
            "quality:\n  field: {task: squad, squad_file: questions.json}",
            "constraints: {answer_s_at_most: 3}",
        ),
        "10: constraints.answer_s_at_most: answer_s_at_most needs a task with answers under "
        "'quality', such as squad",
    ),
    "loss of a quality that is not scored": (
        (
            "quality:\n  field: {task: squad, squad_file: questions.json}",
            "constraints: {f1_drop_at_most: 3}",
        ),
        "10: constraints.f1_drop_at_most: f1_drop_at_most needs a task of the kind squad under "
        "'quality'",
    ),
    "cost of a missing device": (
        (
            "quality:",
            "cost:\n  currency: EUR\n  hardware: {heer: {board: 90}}\n  lifespan_years: 4\n"
            "  duty_pct: 20\n  price_per_kwh: 0.3\nquality:",
        ),
        "12: cost.hardware.heer: no device 'heer' under 'devices'; did you mean 'here'? "
        "Allowed: here",
    ),
    "figure that is no number": (
        (
            "quality:",
            "cost:\n  currency: EUR\n  hardware: {here: {board: 90}}\n  lifespan_years: 4\n"
            "  duty_pct: much\n  price_per_kwh: 0.3\nquality:",
        ),
        "14: cost.duty_pct: 'much': should be a number, or a mapping of 'value' and 'source'",
    ),
    "descent on a shared task": (
        (
            "squad_file: questions.json}\n",
            "squad_file: questions.json, shards: 4}\ndescent: {task: field, margin_pct: 5}\n",
        ),
        "11: quality.field.shards: the descent asks 'field' block by block, no further than it "
        "takes to tell: take its 'shards' out, or descend on another task",
    ),
    "country in place of a language": (
        ("questions.json}", "questions.json, language: jp}"),
        "11: quality.field.language: 'jp' is no language of ISO 639-1, whose codes are such as en, "
        "ja, zh or th",
    ),
    "prompt that nobody froze": (
        ("questions.json}", "questions.json, prompt: 3}"),
        "11: quality.field.prompt: 3 is not possible here; allowed: 1, 2",
    ),
    "one engine": (
        ("workloads:", "engines: [0.3.36]\nworkloads:"),
        "8: engines: one engine is held against nothing: name two at least, or leave it out",
    ),
    "an engine twice": (
        ("workloads:", "engines: [0.3.36, 0.3.36]\nworkloads:"),
        "8: engines: '0.3.36' stands here twice",
    ),
    "an engine of no version": (
        ("workloads:", "engines: [0.3.35, newest]\nworkloads:"),
        "8: engines.1: 'newest' does not look right; it must match ^\\d+(\\.\\d+){2}$",
    ),
    "an engine of two sources": (
        ("workloads:", "engines: {a: {version: 0.3.35, wheel: a.whl}}\nworkloads:"),
        "8: engines.a: exactly one of these keys is needed: version, wheel",
    ),
    "an engine that is built already": (
        ("workloads:", "engines: {a: {wheel: a.whl, cmake_args: [-DX=1]}}\nworkloads:"),
        "8: engines.a: a wheel is built already: cmake_args would change nothing",
    ),
    "an engine's wheel that is not there": (
        ("workloads:", "engines: {a: {wheel: a.whl}, b: {version: 0.3.36}}\nworkloads:"),
        "8: engines.a.wheel: there is no file or folder 'a.whl'",
    ),
    "an engine for a device that compiles its own": (
        (
            "here: {transport: local}\n",
            "pi: {transport: ssh, host: pi, engine: native}\nengines: [0.3.35, 0.3.36]\n",
        ),
        "8: engines: the engine of pi is compiled there ('engine: native'), and engines to compare "
        "are made here: name a 'wheel' of 0.3.35, or let pi have a cross-built engine",
    ),
    "engines where only an endpoint runs": (
        (
            "workloads:",
            f"runtimes: {{server: {{endpoint: {SERVED}}}}}\nengines: [0.3.35, 0.3.36]\nworkloads:",
        ),
        "9: engines: an endpoint has an engine of its own, and a draft model is one too many: "
        "there is no other runtime to compare engines with",
    ),
    "no YAML": (
        ("study: demo", "study: [demo"),
        "2: no valid YAML: expected ',' or ']', but got ':'",
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("edit", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_config(here: Path, edit: tuple[str, str], expected: str) -> None:
    assert edit[0] in GOOD
    Path("study.yaml").write_text(GOOD.replace(*edit, 1))
    with pytest.raises(ConfigError) as error:
        load_study(Path("study.yaml"))
    assert error.value.problems == [f"study.yaml:{expected}"]


@pytest.mark.parametrize(
    ("made_with", "scored"),
    [
        ("text_file: text.txt", "text_file: ./text.txt"),
        ("text_file: text.txt", "text_file: .//text.txt"),
        ("text_file: text.txt", "text_file: link.txt"),
        ("text_file: text.txt", "text_file: text.txt, revision: v2"),
        ("python_topics: true", "python_topics: true, column: other"),
        ("python_topics: true", "python_topics: true, split: train"),
        ("hub: Salesforce/wikitext", "hub: salesforce/WikiText"),
        ("hub: a/b", f"hub: a/b, revision: {'b' * 40}"),
    ],
)
def test_a_text_that_is_scored_by_another_name(here: Path, made_with: str, scored: str) -> None:
    """Nothing is scored on what it was made with, however it is spelled."""
    Path("text.txt").touch()
    Path("link.txt").symlink_to("text.txt")
    Path("study.yaml").write_text(_with_texts(made_with, scored))
    with pytest.raises(ConfigError, match="'calibration' reads the text that the task 't' scores"):
        load_study(Path("study.yaml"))


@pytest.mark.parametrize(
    ("made_with", "scored"),
    [
        ("text_file: text.txt", "text_file: other.txt"),
        ("text_file: text.txt, to_pct: 50", "text_file: ./text.txt, from_pct: 50"),
        ("hub: a/b, split: train", "hub: a/b"),
        ("hub: a/b", "hub: a/b, column: answer"),
    ],
)
def test_another_text_is_scored(here: Path, made_with: str, scored: str) -> None:
    Path("other.txt").touch()
    Path("text.txt").touch()
    Path("study.yaml").write_text(_with_texts(made_with, scored))
    load_study(Path("study.yaml"))


def _with_texts(made_with: str, scored: str) -> str:
    task = "field: {task: squad, squad_file: questions.json}"
    texts = f"t: {{task: divergence, {scored}}}\ncalibration: {{text: {{{made_with}}}}}"
    assert task in GOOD
    return GOOD.replace(task, texts)


def test_good_config(here: Path) -> None:
    Path("study.yaml").write_text(GOOD)
    assert list(load_study(Path("study.yaml")).models) == ["m1"]


def test_files_in_ones_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    named = {
        "source": "m.gguf",
        "squad_file": "qa.json",
        "text_file": "text.txt",
        "prompts": "prompts.jsonl",
        "judgements": "judged",
        "include_path": "tasks",
    }
    (here / "home").mkdir()
    for name in named.values():
        (here / "home" / name).touch()
    study = GOOD.partition("quality:")[0] + (
        "quality:\n"
        "  field: {task: squad, squad_file: ~/qa.json}\n"
        "  text: {task: divergence, text_file: ~/text.txt}\n"
        "  own: {task: ab, prompts: ~/prompts.jsonl, judgements: ~/judged}\n"
        "  harness: {task: lm_eval, tasks: [x], include_path: ~/tasks}\n"
    )
    source = "{" + GOOD.partition("source: {")[2].partition("}")[0] + "}"
    Path("study.yaml").write_text(study.replace(source, "{path: ~/m.gguf}"))
    found = load_study(Path("study.yaml"))
    assert found.models["m1"].source.path == str(here / "home/m.gguf")
    given = {key: value for task in found.quality.values() for key, value in task}
    for key, name in named.items():
        assert key == "source" or given[key] == str(here / "home" / name)


def test_every_problem_is_told_at_once(here: Path) -> None:
    Path("study.yaml").write_text(GOOD.replace("128", "many").replace("Q4_0", "Q5"))
    with pytest.raises(ConfigError) as error:
        load_study(Path("study.yaml"))
    assert [problem.split(": ")[1] for problem in error.value.problems] == [
        "quants.1",
        "workloads.chat.prompt_tokens",
    ]


def test_source_of_no_kind(here: Path) -> None:
    Path("study.yaml").write_text(GOOD.replace("pypi:", "pipy:"))
    with pytest.raises(ConfigError) as error:
        load_study(Path("study.yaml"))
    [problem] = error.value.problems
    assert problem.endswith(
        "one of these keys is needed: pypi, hub, path, scratch; did you mean 'pypi'?"
    )


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere.yaml: there is no such file$"):
        load_study(Path("nowhere.yaml"))


def test_value_from_the_command_line_is_not_blamed_on_the_file(here: Path) -> None:
    import yaml

    Path("study.yaml").write_text(GOOD)
    merged = {**yaml.safe_load(GOOD), "stduy": "x"}
    with pytest.raises(ConfigError) as error:
        parse_study(merged, [Path("study.yaml")])
    [problem] = error.value.problems
    assert problem.startswith("--config: stduy: unknown key; did you mean 'study'?")
