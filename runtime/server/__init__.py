"""The server: OpenAI's and Ollama's APIs and the chat page (`runtime/page`), from one or more bundles.

service.py           bundles as a service, put together
app.py               the application: all routes, and what surrounds them
dispatch.py          from a request's body to its replies
openai_api.py        OpenAI's models, chat completions and completions
openai_responses.py  OpenAI's Responses API
tokenizer_api.py     text to token ids and back
ollama_api.py        Ollama's API
ollama_protocol.py   its requests and responses
protocol.py          OpenAI's requests
tolerance.py         what of a request is understood, passed over or refused
responses.py         OpenAI's responses
logprob_formats.py   log-probabilities in the forms of the APIs
errors.py            error responses
openapi.py           the OpenAPI document
models.py            the served models, by name
scheduler.py         many replies at a time, in turns
replies.py           replies in progress
caches.py            KV-cache pool: prefix reuse, LRU
sse.py               streamed responses, and clients that disconnect
middleware.py        outermost ASGI middleware
http_server.py       limits and timeouts of connections
security.py          allowed hosts, origins and keys
addresses.py         addresses for other devices, QR code
metrics.py           metrics for Prometheus
"""
