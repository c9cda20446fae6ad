// Time of prefill and decode in llama.cpp, one thread: loop MODEL PROMPT CONTEXT TOKENS FLASH CACHE
//
// Each line on standard input asks for a round: the prompt into an empty cache, more tokens up to the context, one token
// to warm up, and the tokens one by one. Each answer is a line of JSON with milliseconds of the processor's time, as
// own_loop.py gives it. FLASH is 1 or 0: with or without flash attention. CACHE is f16 or f32: the cache's numbers.

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include "llama.h"

namespace {

double milliseconds() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return 1e3 * now.tv_sec + 1e-6 * now.tv_nsec;
}

[[noreturn]] void fail(const std::string &reason) {
    std::cerr << reason << std::endl;
    std::exit(1);
}

class Loop {
  public:
    Loop(const char *path, bool flash_attention, ggml_type cache) {
        llama_backend_init();
        llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
        if (!model) fail(std::string(path) + ": llama.cpp cannot load it");
        llama_context_params options = llama_context_default_params();
        options.n_ctx = 0; // the model's
        options.n_threads = options.n_threads_batch = 1;
        options.flash_attn_type = flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        options.type_k = options.type_v = cache;
        context_ = llama_init_from_model(model, options);
        if (!context_) fail(std::string(path) + ": llama.cpp makes no context for it");
        vocabulary_ = llama_vocab_n_tokens(llama_model_get_vocab(model));
    }

    void clear() {
        llama_memory_seq_rm(llama_get_memory(context_), 0, 0, -1);
        length_ = 0;
    }

    // Append tokens in one call, and return the milliseconds up to the logits of the last
    double append(int count) {
        std::vector<llama_token> ids(count);
        for (llama_token &id : ids) id = (7 + 611 * length_++) % vocabulary_;
        const double started = milliseconds();
        if (llama_decode(context_, llama_batch_get_one(ids.data(), count))) fail("llama_decode failed");
        llama_synchronize(context_);
        return milliseconds() - started;
    }

  private:
    llama_context *context_;
    int vocabulary_;
    int length_ = 0;
};

} // namespace

int main(int count, char **arguments) {
    if (count != 7) fail("loop MODEL PROMPT CONTEXT TOKENS FLASH CACHE");
    const int prompt = std::atoi(arguments[2]), context = std::atoi(arguments[3]), tokens = std::atoi(arguments[4]);
    llama_log_set([](ggml_log_level level, const char *text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
    }, nullptr);
    const ggml_type cache = std::string(arguments[6]) == "f32" ? GGML_TYPE_F32 : GGML_TYPE_F16;
    Loop loop(arguments[1], std::atoi(arguments[5]) != 0, cache);
    for (std::string line; std::getline(std::cin, line);) {
        loop.clear();
        std::cout << "{\"prefill_ms\": " << loop.append(prompt) << ", \"decode_ms\": [";
        if (context > prompt) loop.append(context - prompt);
        loop.append(1);
        for (int token = 0; token < tokens; token++) std::cout << (token ? ", " : "") << loop.append(1);
        std::cout << "]}" << std::endl;
    }
}
