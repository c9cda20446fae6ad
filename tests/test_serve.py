"""`tinylm serve` as a real process on loopback: what it takes and refuses, who may ask, and how it ends."""

import base64
import concurrent.futures
import hashlib
import re
import signal
import socket
import time
from contextlib import closing

import httpx
import openai
import pytest

from tinylm.manifest import read_manifest
from tinylm.runtime.demo import DEMO_BUNDLE

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hello! Who are you?"}]}
EOS = read_manifest(DEMO_BUNDLE).special_tokens.eos
JSON = {"content-type": "application/json"}
# A reply that does not end before the context does
ENDLESS = {**HELLO, "logit_bias": {str(EOS): -100}, "max_tokens": 1000, "temperature": 1.5}


@pytest.fixture
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


def refused(response, status=400):
    """The error of an answer."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    assert "Traceback" not in response.text
    return error


def metric(http, name):
    found = re.search(rf"^tinylm_{name} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    return float(found[1])


def wait_until(reached, seconds=30):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_demo_model_answers_the_official_client(demo_server):
    with openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="any", max_retries=0) as client:
        (model,) = client.models.list()
        assert client.models.retrieve(model.id).id == model.id == "demo"
        reply = client.chat.completions.create(model="demo", temperature=0, **HELLO)
        assert "Pip" in reply.choices[0].message.content
        assert reply.usage.prompt_tokens_details.cached_tokens == 0
        with_usage = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(model="demo", temperature=0, **with_usage, **HELLO))
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens == reply.usage.total_tokens
        # For the chat page: what a reply took, and what is done where nothing is said
        assert chunks[-1].usage.time_to_first_token_s > 0
        assert chunks[-1].usage.decode_tokens_per_second > 0
        defaults = {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "min_p": 0, "repetition_penalty": 1, "seed": None}
        assert model.defaults == {**defaults, "max_new_tokens": 256}
        with pytest.raises(openai.NotFoundError) as refusal:
            client.chat.completions.create(model="gpt", **HELLO)
        assert refusal.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refusal:
            client.chat.completions.create(model="demo", n=9, **HELLO)
        assert refusal.value.param == "n"


def test_the_same_words_as_the_chat_in_the_terminal(http, must):
    reply = http.post(CHAT, json={**HELLO, "temperature": 0}).json()["choices"][0]["message"]["content"]
    prompt = HELLO["messages"][0]["content"]
    assert must("chat", "--prompt", prompt, "--temperature", "0").stdout.strip() == reply.strip()


@pytest.mark.parametrize(
    "harmless",
    [
        {"n": 1, "user": "me", "metadata": {"a": "b"}, "store": False},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "functions": None},
        {"logprobs": False, "top_logprobs": None, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"response_format": {"type": "text"}, "modalities": ["text"], "seed": None, "never_heard_of": None},
        {"stop": [], "logit_bias": {}, "stream": None, "service_tier": "auto"},
    ],
    ids=str,
)
def test_what_changes_nothing_is_accepted(harmless, http):
    plain = http.post(CHAT, json={**HELLO, "temperature": 0}).json()["choices"]
    assert http.post(CHAT, json={**HELLO, "temperature": 0, **harmless}).json()["choices"] == plain


@pytest.mark.parametrize(
    ("unsupported", "param"),
    [
        ({"tool_choice": "required", "tools": [{"type": "function"}]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"guided_json": {}}, "guided_json"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"messages": [{"role": "user", "content": "hi", "images": ["AAAA"]}]}, "messages[0].images"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "image_url": {"url": "a"}}]}]},
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}, {"role": "user", "content": "hi"}]},
            "messages[0].tool_calls",
        ),
    ],
    ids=str,
)
def test_what_would_change_the_reply_s_meaning_is_refused_by_name(unsupported, param, http):
    error = refused(http.post(CHAT, json={**HELLO, **unsupported}))
    assert (error["param"], error["code"]) == (param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"stop": [""]}, "stop[...]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias[...]"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "nobody", "content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"stream": "perhaps"}, "stream"),
        ({"messages": [{"role": "tool", "content": "hi", "tool_call_id": "1"}]}, "messages[0].role"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": True}, "n"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"top_k": -2}, "top_k"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": HELLO["messages"] * 600}, "messages"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_refused_by_name(wrong, param, http):
    error = refused(http.post(CHAT, json={**HELLO, **wrong}))
    assert error["param"].replace("[0]", "[...]") == param.replace("[0]", "[...]")


def test_what_clients_send_back_of_an_answer_is_taken(http):
    said = http.post(CHAT, json=HELLO).json()["choices"][0]["message"]
    parts = [{"type": "text", "text": "And "}, {"type": "text", "text": "you?"}]
    messages = [
        {"role": "developer", "content": "Be brief."},
        *HELLO["messages"],
        {**said, "tool_calls": [], "annotations": [], "audio": None},
        {"role": "user", "content": parts, "name": None},
    ]
    assert http.post(CHAT, json={"messages": messages}).status_code == 200


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        (lambda http: http.post(CHAT, content=b"{}"), 415, "unsupported_media_type"),
        (lambda http: http.post(CHAT, json=[]), 400, "invalid_json"),
        (lambda http: http.post(CHAT, content=b"{", headers=JSON), 400, "invalid_json"),
        (lambda http: http.post(CHAT, content=b"[" * 100_000, headers=JSON), 400, "invalid_json"),
        (lambda http: http.post(CHAT, json={"messages": ["a" * 1_100_000]}), 413, "body_too_long"),
        (lambda http: http.get(CHAT), 405, "method_not_allowed"),
        (lambda http: http.get("/v1/nothing"), 404, "not_found"),
        (lambda http: http.get("/health", headers={"host": "evil.example"}), 403, "host_not_allowed"),
        (lambda http: http.get("/health", headers={"host": "127.0.0.1@evil.example"}), 403, "host_not_allowed"),
        (lambda http: http.post(CHAT, json=HELLO, headers={"origin": "https://evil"}), 403, "origin_not_allowed"),
    ],
)
def test_other_refusals(request_of, status, code, http):
    assert refused(request_of(http), status)["code"] == code


def test_hosts_of_this_machine_are_allowed(http):
    port = http.base_url.port
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", "[::1]:80", "LOCALHOST."):
        assert http.get("/health", headers={"host": host}).status_code == 200


def test_bytes_that_are_no_http_get_one_answer_and_an_end(http):
    for data in (b"\x16\x03\x01hello\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"GET /" + b"a" * 100_000):
        with socket.create_connection(("127.0.0.1", http.base_url.port), timeout=30) as client:
            client.sendall(data)
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"invalid_http" in answer


def test_the_page_runs_its_own_script_and_style_only(http):
    response = http.get("/")
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        blocks = re.findall(rf"<{kind}>(.*?)</{kind}>", response.text, re.DOTALL)
        assert blocks
        for block in blocks:
            digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", response.text)


def test_a_client_that_leaves_frees_its_place(http):
    before = metric(http, "cancelled_total")
    for stream in (True, False):
        body = {**ENDLESS, "stream": stream}
        with pytest.raises(httpx.ReadTimeout):
            http.post(CHAT, json=body, timeout=httpx.Timeout(60, read=0.001))
    wait_until(lambda: metric(http, "active") == metric(http, "waiting") == 0)
    assert metric(http, "cancelled_total") > before


def test_a_conversation_goes_on_from_its_cache_and_says_the_same(http, start_server):
    messages = [{"role": "user", "content": "Tell me about the garden. " * 12}]
    first = http.post(CHAT, json={"messages": messages, "temperature": 0}).json()
    messages += [first["choices"][0]["message"], {"role": "user", "content": "And then?"}]
    wanted = {"messages": messages, "temperature": 1.2, "seed": 3}
    second = http.post(CHAT, json=wanted).json()
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached == first["usage"]["prompt_tokens"] // 64 * 64 > 0
    with start_server("--cache-memory", "1") as fresh:
        anew = httpx.post(fresh.url + CHAT, json=wanted).json()
    assert anew["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert anew["choices"] == second["choices"]


def test_minus_one_and_zero_mean_what_they_mean_elsewhere(http):
    def say(**options):
        return http.post(CHAT, json={**HELLO, "max_tokens": 24, **options}).json()["choices"][0]["message"]["content"]

    assert say(temperature=2, top_p=0, top_k=-1) == say(temperature=0)
    lively = {"temperature": 2, "top_p": 1, "top_k": -1}
    assert len({say(**lively, seed=-1) for _ in range(5)}) > 1
    assert say(**lively, seed=-2) == say(**lively, seed=-2)


def test_a_full_queue_says_when_to_come_back(start_server):
    with start_server("--parallel", "1", "--queue", "1") as server, httpx.Client(base_url=server.url) as http:

        def say(_):
            return http.post(CHAT, json=ENDLESS, timeout=60)

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(say, range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        for answer in answers:
            if answer.status_code == 429:
                assert refused(answer, 429)["code"] == "server_busy"
                assert int(answer.headers["retry-after"]) >= 1
        assert http.post(CHAT, json=HELLO).status_code == 200


def test_limits_of_time_and_tokens_end_a_reply_where_it_is(start_server):
    with start_server("--time-limit", "0.02") as server:
        reply = httpx.post(server.url + CHAT, json=ENDLESS).json()
        assert reply["choices"][0]["finish_reason"] == "length"
    with start_server("--max-new-tokens", "3") as server:
        reply = httpx.post(server.url + CHAT, json=ENDLESS).json()
        assert reply["usage"]["completion_tokens"] == 3


def test_a_key_is_asked_for_and_kept_to_itself(start_server):
    with start_server("--host", "0.0.0.0", TINYLM_API_KEY="secret-1") as server:
        port = httpx.URL(server.url).port
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            for headers in ({}, {"authorization": "Bearer secret-2"}, {"authorization": "Basic secret-1"}):
                for path in ("/v1/models", "/metrics", "/v1/nothing"):
                    answer = http.get(path, headers=headers)
                    assert refused(answer, 401)["code"] == "invalid_api_key"
                    assert answer.headers["www-authenticate"] == "Bearer"
            good = {"authorization": "Bearer secret-1"}
            assert http.get("/v1/models", headers=good).status_code == 200
            assert http.post(CHAT, json=HELLO, headers={**good, "host": "my.name"}).status_code == 200
            for path in ("/", "/health"):
                assert http.get(path).status_code == 200
        assert "secret-1" not in server.said + server.stop()


def test_pages_from_elsewhere_only_where_they_are_allowed(start_server):
    with start_server("--cors-origin", "https://my.page") as server, httpx.Client(base_url=server.url) as http:
        ask = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        good = http.options(CHAT, headers={"origin": "https://my.page", **ask})
        assert good.headers["access-control-allow-origin"] == "https://my.page"
        bad = http.options(CHAT, headers={"origin": "https://evil", **ask})
        assert "access-control-allow-origin" not in bad.headers
        said = http.post(CHAT, json=HELLO, headers={"origin": "https://my.page"})
        assert said.headers["access-control-allow-origin"] == "https://my.page"


@pytest.mark.parametrize("grace", [0, 30])
def test_the_end_finishes_or_tells_open_streams(grace, start_server):
    with start_server("--grace", grace) as server:
        body = {**ENDLESS, "stream": True}
        with httpx.stream("POST", server.url + CHAT, json=body, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert ('"finish_reason":"length"' in rest[-2]) or (grace == 0 and "shutting_down" in rest[-2])
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.process.stderr.read()


def test_nothing_of_a_conversation_is_logged_unless_asked(start_server):
    for options, logged in (("--log-requests",), False), (("--log-conversations",), True):
        with start_server(*options) as server:
            httpx.post(server.url + CHAT, json={"messages": [{"role": "user", "content": "Xylophone"}]})
            said = server.stop()
        assert "POST /v1/chat/completions 200" in said
        assert ("Xylophone" in said) == logged


def test_a_text_model_completes_and_does_not_chat(text_bundle, start_server):
    with start_server(text_bundle) as server:
        assert refused(httpx.post(server.url + CHAT, json=HELLO))["code"] == "no_chat"
        assert httpx.post(server.url + "/v1/completions", json={"prompt": "The"}).json()["choices"][0]["text"]


def test_what_would_open_it_to_the_network_is_refused(run_cli, monkeypatch):
    monkeypatch.delenv("TINYLM_API_KEY", raising=False)
    for arguments, words in (
        (["--host", "0.0.0.0"], "--no-auth"),
        (["--host", "::"], "TINYLM_API_KEY"),
        (["--api-key", "a b"], "visible ASCII"),
        (["--api-key", "k", "--no-auth"], "give one of them"),
    ):
        result = run_cli("serve", *arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_an_address_in_use_is_one_line(run_cli):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        result = run_cli("serve", "--port", taken.getsockname()[1])
    assert result.exit_code == 1
    assert "choose another by --host or --port" in result.stderr
    assert len(result.stderr.splitlines()) == 1
