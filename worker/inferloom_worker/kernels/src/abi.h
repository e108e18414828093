// What the Python side assumes of this library, in words that it compares with its own: see abi.py.
#pragma once

#include <cstddef>
#include <string>

#include "decoder.h"
#include "encoder.h"

namespace inferloom {

// Of the functions in api.cpp: raised whenever one takes other arguments or means something else.
constexpr int kAbiVersion = 5;

// clang-format off: it takes the lists for expressions
class AbiDescription {
 public:
  AbiDescription() {
    line("version", kAbiVersion);
    line("tile", kTile), line("group", kGroup), line("block", kBlock);
    structs();
    orders();
  }

  const std::string& text() const { return text_; }

 private:
  void word(const std::string& name, size_t value) { text_ += " " + name + ":" + std::to_string(value); }
  void line(const char* name, int value) { text_ += std::string(name) + " " + std::to_string(value) + "\n"; }

  // A struct's fields with their offsets, and its size.
#define IL_OFFSET(name) word(#name, offsetof(Described, name));
#define IL_STRUCT(name)     \
  {                         \
    using Described = name; \
    text_ += #name;         \
    IL_FIELDS(IL_OFFSET)    \
    word("", sizeof(name)); \
    text_ += "\n";          \
  }
  void structs() {
#define IL_FIELDS(X)                                                                                               \
  X(layers)                                                                                                        \
  X(hidden) X(heads) X(kv_heads) X(head_dim) X(intermediate) X(vocab) X(activation) X(norm_eps) X(embedding_scale) \
      X(attention_scale) X(attention_softcap) X(final_softcap)
    IL_STRUCT(Shape)
#undef IL_FIELDS
#define IL_FIELDS(X) X(frequencies) X(pairs) X(scale)
    IL_STRUCT(Rope)
#undef IL_FIELDS
#define IL_FIELDS(X) X(window) X(rope)
    IL_STRUCT(LayerShape)
#undef IL_FIELDS
#define IL_FIELDS(X)                                                                                             \
  X(rows)                                                                                                        \
  X(spans) X(samples) X(block_count) X(tokens) X(positions) X(span_start) X(span_count) X(span_blocks) X(blocks) \
      X(sample_rows) X(span_adapters)
    IL_STRUCT(Step)
#undef IL_FIELDS
#define IL_FIELDS(X) X(temperature) X(top_p) X(min_p) X(top_k) X(u)
    IL_STRUCT(Filter)
#undef IL_FIELDS
#define IL_FIELDS(X) X(layers) X(hidden) X(heads) X(intermediate) X(vocab) X(positions) X(segments) X(pooling) X(norm_eps)
    IL_STRUCT(EncoderShape)
#undef IL_FIELDS
  }
#undef IL_STRUCT
#undef IL_OFFSET

  // Where a member stands in the list that holds it.
  template <class List, class T>
  static size_t place(const List& list, const T* member) {
    size_t at = 0;
    while (at < list.size() && list[at] != member) ++at;
    return at;
  }

  void orders() {
#define IL_VALUE(name, value) word(name, size_t(value));
    text_ += "kinds";
    IL_VALUE("q4", kQ4)
    IL_VALUE("q4f", kQ4F) IL_VALUE("q8", kQ8) IL_VALUE("q8f", kQ8F) IL_VALUE("bf16", kBF16) IL_VALUE("q12", kQ12)
        text_ += "\nactivations";
    IL_VALUE("silu", kSilu) IL_VALUE("gelu_tanh", kGeluTanh) text_ += "\nprojections";
    IL_VALUE("qkv", kQkv)
    IL_VALUE("output", kOutput) IL_VALUE("gate_up", kGateUp) IL_VALUE("down", kDown) text_ += "\npoolings";
    IL_VALUE("mean", kMean)
    IL_VALUE("cls", kFirst) IL_VALUE("lasttoken", kLast)
#undef IL_VALUE
#define IL_MEMBER(name) word(#name, place(list, &w.name));
    {
      LayerWeights w;
      text_ += "\nmatrices";
      {
        const auto list = w.matrices();
        IL_MEMBER(q) IL_MEMBER(k) IL_MEMBER(v) IL_MEMBER(output) IL_MEMBER(gate) IL_MEMBER(up) IL_MEMBER(down)
      }
      text_ += "\nvectors";
      const auto list = w.vectors();
      IL_MEMBER(input_norm)
      IL_MEMBER(attention_post_norm) IL_MEMBER(mlp_norm) IL_MEMBER(mlp_post_norm) IL_MEMBER(q_norm) IL_MEMBER(k_norm)
          IL_MEMBER(qkv_bias) IL_MEMBER(output_bias) IL_MEMBER(gate_bias) IL_MEMBER(up_bias) IL_MEMBER(down_bias)
    }
    {
      EncoderLayer w;
      text_ += "\nencoder_matrices";
      {
        const auto list = w.matrices();
        IL_MEMBER(q) IL_MEMBER(k) IL_MEMBER(v) IL_MEMBER(output) IL_MEMBER(up) IL_MEMBER(down)
      }
      text_ += "\nencoder_vectors";
      const auto list = w.vectors();
      IL_MEMBER(qkv_bias)
      IL_MEMBER(output_bias) IL_MEMBER(norm1) IL_MEMBER(norm1_bias) IL_MEMBER(up_bias) IL_MEMBER(down_bias)
          IL_MEMBER(norm2) IL_MEMBER(norm2_bias)
    }
#undef IL_MEMBER
    text_ += "\n";
  }

  std::string text_;
};

// clang-format on

}  // namespace inferloom
