// One engine step of a Llama-shaped decoder.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "adapter.h"
#include "attention.h"
#include "check.h"
#include "pool.h"
#include "product.h"
#include "sampler.h"

namespace inferloom {

// What the gate of a feed-forward network goes through.
enum Activation : int { kSilu = 0, kGeluTanh = 1 };

struct Shape {
  int32_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocab;  // vocab is padded to whole tiles
  int32_t activation;
  float norm_eps, embedding_scale, attention_scale;
  float attention_softcap, final_softcap;  // bounds of scores and logits; 0: none
};

// One rotary embedding. It turns the first 2 · pairs dimensions of a head.
struct Rope {
  const float* frequencies;  // [pairs]
  int32_t pairs;
  float scale;  // of cosines and sines
};

// What can differ from layer to layer.
struct LayerShape {
  int32_t window;  // tokens that a row sees; 0: all
  int32_t rope;    // place in the decoder's rotary embeddings
};

struct LayerWeights {
  Matrix q, k, v, output, gate, up, down;

  std::array<Matrix*, 7> matrices() { return {&q, &k, &v, &output, &gate, &up, &down}; }

  std::array<std::vector<float>*, 11> vectors() {
    return {&input_norm, &attention_post_norm, &mlp_norm,  &mlp_post_norm, &q_norm,   &k_norm,
            &qkv_bias,   &output_bias,         &gate_bias, &up_bias,       &down_bias};
  }

  // Those that the model has not are empty.
  std::vector<float> input_norm, attention_post_norm, mlp_norm, mlp_post_norm, q_norm, k_norm;
  std::vector<float> qkv_bias, output_bias, gate_bias, up_bias, down_bias;
};

// The rows of a step: as StepBatch, in plain arrays.
struct Step {
  int32_t rows, spans, samples, block_count;
  const int32_t* tokens;                // [rows]
  const int32_t* positions;             // [rows]
  const int32_t* span_start;            // [spans]
  const int32_t* span_count;            // [spans]
  const int32_t* span_blocks;           // [spans]: where the span's table begins in blocks
  const int32_t* blocks;                // all tables, one after the other [block_count]
  const int32_t* sample_rows;           // [samples]
  const Adapter* const* span_adapters;  // [spans]: null where there is none
};

// Refuses a shape that the decoder does not compute.
inline void check_shape(const Shape& s, const LayerShape* layers, const Rope* ropes, int rope_count) {
  require_between(s.layers, 0, kMostLayers, "the number of layers");
  for (const int width : {s.hidden, s.intermediate, s.vocab}) require_between(width, 1, kMostWidth, "a width");
  for (const int count : {s.heads, s.kv_heads, s.head_dim}) require_between(count, 1, 1 << 12, "a size of attention");
  require(s.heads % s.kv_heads == 0, "the heads are no multiple of the key-value heads");
  require(s.hidden % kGroup == 0 && s.intermediate % kGroup == 0 && s.heads * s.head_dim % kGroup == 0,
          "widths that are not in whole groups");
  require(s.vocab % kTile == 0 && s.head_dim % kTile == 0, "sizes that are not in whole tiles");
  require_between(s.activation, kSilu, kGeluTanh + 1, "an activation");
  for (int i = 0; i < rope_count; ++i)
    require_between(ropes[i].pairs, 0, s.head_dim / 2 + 1, "the pairs of a rotary embedding");
  for (int i = 0; i < s.layers; ++i) {
    require_between(layers[i].rope, 0, rope_count, "a layer's rotary embedding");
    require(layers[i].window >= 0, "a window of less than nothing");
  }
}

class Decoder {
 public:
  Decoder(const Shape& shape, const LayerShape* layer_shapes, const Rope* ropes, int rope_count, int threads)
      : shape(shape),
        layers(shape.layers),
        pool_(threads),
        layer_shapes_(layer_shapes, layer_shapes + shape.layers),
        scores_(pool_.threads()) {
    for (int i = 0; i < rope_count; ++i) {
      const Rope& rope = ropes[i];
      rotations_.push_back({{rope.frequencies, rope.frequencies + rope.pairs}, rope.scale, {}, {}});
    }
  }

  ~Decoder() {
    if (cache_ != MAP_FAILED) munmap(cache_, cache_bytes_);
  }

  // Reserves the cache, once; the system commits its pages when they are first written.
  void allocate(int blocks) {
    require(cache_ == MAP_FAILED && blocks > 0, "the cache is made once, of at least one block");
    const size_t layer = size_t(blocks) * shape.kv_heads * shape.head_dim * kBlock;
    if (layer > SIZE_MAX / 4 / sizeof(uint16_t) / std::max(shape.layers, 1)) throw std::bad_alloc();
    cache_layers_.reserve(shape.layers);
    const size_t bytes = std::max<size_t>(2 * sizeof(uint16_t) * layer * shape.layers, 1);
    cache_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cache_ == MAP_FAILED) throw std::bad_alloc();
    cache_bytes_ = bytes, blocks_ = blocks;
    auto* at = static_cast<uint16_t*>(cache_);
    for (int i = 0; i < shape.layers; ++i, at += 2 * layer) cache_layers_.push_back({at, at + layer});
  }

  // Inputs and outputs of each projection that an adapter can change.
  std::array<Width, kProjections> widths() const {
    const int queries = shape.heads * shape.head_dim, states = shape.kv_heads * shape.head_dim;
    return {{{shape.hidden, queries + 2 * states},
             {queries, shape.hidden},
             {shape.hidden, 2 * shape.intermediate},
             {shape.intermediate, shape.hidden}}};
  }

  // Refuses a step that would read or write outside of what there is. Linear in its rows and blocks.
  void check(const Step& step) {
    check_weights();
    require(step.rows >= 0 && step.spans >= 0 && step.samples >= 0 && step.block_count >= 0,
            "a step of less than nothing");
    for (int r = 0; r < step.rows; ++r) {
      require_between(step.tokens[r], 0, shape.vocab, "a token");
      require_between(step.positions[r], 0, INT32_MAX, "a position");
    }
    for (int b = 0; b < step.block_count; ++b) require_between(step.blocks[b], 0, blocks_, "a block of the cache");
    for (int s = 0; s < step.samples; ++s) require_between(step.sample_rows[s], 0, step.rows, "a row to sample");
    int row = 0;
    for (int s = 0; s < step.spans; ++s) {
      require(step.span_start[s] == row && step.span_count[s] > 0 && step.span_count[s] <= step.rows - row,
              "spans that do not follow each other");
      const int end = s + 1 < step.spans ? step.span_blocks[s + 1] : step.block_count;
      require(step.span_blocks[s] >= 0 && step.span_blocks[s] <= end && end <= step.block_count,
              "tables of blocks that do not follow each other");
      for (const int last = row + step.span_count[s]; row < last; ++row)
        require(step.positions[row] / kBlock < end - step.span_blocks[s], "a position past its sequence's blocks");
      const Adapter* adapter = step.span_adapters[s];
      require(adapter == nullptr || (int(adapter->layers.size()) == shape.layers && adapter->widths == widths()),
              "an adapter of another model");
    }
    require(row == step.rows, "rows without a span");
  }

  // Writes logits [samples, vocab].
  void forward(const Step& step, float* logits) {
    run(step);
    sample(step, logits);
  }

  // Writes the states of the sampled rows after the last norm [samples, hidden].
  void hidden(const Step& step, float* states) {
    run(step);
    over_rows(step.samples, [&](int s) {
      const size_t row = step.sample_rows[s];
      normalize(&x_[row * shape.hidden], norm.data(), shape.hidden, states + size_t(s) * shape.hidden);
    });
  }

  // The place of each row's largest logit that is finite and allowed, the first of equals; -1 where there is none.
  void argmax(const float* logits, int rows, int stride, int width, const uint32_t* const* masks, int32_t* places) {
    pool_.loop(rows, [&](int r, int) {
      const float* row = logits + size_t(r) * stride;
      const uint32_t* mask = masks == nullptr ? nullptr : masks[r];
      places[r] = place_of(row, width, mask, largest(row, width, mask));
    });
  }

  // Draws a token for each row; see RowSampler.
  void draw(const float* logits, int rows, int stride, int width, const uint32_t* const* masks, const Filter* filters,
            int32_t* tokens) {
    samplers_.resize(pool_.threads());
    pool_.loop(rows, [&](int r, int thread) {
      const uint32_t* mask = masks == nullptr ? nullptr : masks[r];
      tokens[r] = samplers_[thread].draw(logits + size_t(r) * stride, width, mask, filters[r]);
    });
  }

  const Shape shape;
  std::vector<LayerWeights> layers;
  Matrix embedding, head;  // head has no data when it is the embedding
  std::vector<float> norm;

 private:
  // Refuses to compute before every weight is there, in its size. Only the first step pays for it.
  void check_weights() {
    if (checked_) return;
    const auto matrix = [](const Matrix& m, int rows, int cols, const char* name) {
      require(m.data != nullptr && m.rows == rows && m.cols == cols, name);
    };
    const auto vector = [](const std::vector<float>& v, int size, bool needed, const char* name) {
      if (needed || !v.empty()) require_size((long long)v.size(), size, name);
    };
    const int hidden = shape.hidden, wide = shape.intermediate, dim = shape.head_dim;
    const int queries = shape.heads * dim, states = shape.kv_heads * dim;
    require(blocks_ > 0, "there is no cache");
    matrix(embedding, shape.vocab, hidden, "there is no embedding of this size");
    if (head.data != nullptr) matrix(head, shape.vocab, hidden, "the head is of another size");
    vector(norm, hidden, true, "the last norm");
    for (const LayerWeights& w : layers) {
      matrix(w.q, queries, hidden, "a layer has no queries of this size");
      matrix(w.k, states, hidden, "a layer has no keys of this size");
      matrix(w.v, states, hidden, "a layer has no values of this size");
      matrix(w.output, hidden, queries, "a layer has no attention output of this size");
      matrix(w.gate, wide, hidden, "a layer has no gate of this size");
      matrix(w.up, wide, hidden, "a layer has no up projection of this size");
      matrix(w.down, hidden, wide, "a layer has no down projection of this size");
      vector(w.input_norm, hidden, true, "a layer's first norm"),
          vector(w.mlp_norm, hidden, true, "a layer's second norm");
      vector(w.attention_post_norm, hidden, false, "a norm after attention");
      vector(w.mlp_post_norm, hidden, false, "a norm after feed-forward");
      vector(w.q_norm, dim, false, "a norm of queries"), vector(w.k_norm, dim, false, "a norm of keys");
      vector(w.qkv_bias, queries + 2 * states, false, "a bias of attention");
      vector(w.output_bias, hidden, false, "a bias of attention's output");
      vector(w.gate_bias, wide, false, "a bias of a gate"),
          vector(w.up_bias, wide, false, "a bias of an up projection");
      vector(w.down_bias, hidden, false, "a bias of a down projection");
    }
    checked_ = true;
  }

  template <class Body>
  void over_tiles(int tiles, Body&& body) {
    pool_.chunks(tiles, 4, 6, body);
  }

  template <class Body>
  void over_rows(int rows, Body&& body) {
    pool_.rows(rows, body);
  }

  void run(const Step& step) {
    prepare(step);
    for (int i = 0; i < shape.layers; ++i) run_layer(step, i);
  }

  void prepare(const Step& step) {
    const int rows = step.rows;
    width_ = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    grow(x_, size_t(rows) * shape.hidden);
    grow(qkv_, size_t(rows) * width_);
    grow(mixed_, size_t(rows) * shape.heads * shape.head_dim);
    grow(gated_, size_t(rows) * shape.intermediate);
    for (Rotation& rotation : rotations_) rotation.grow_to(rows);
    hidden_q_.resize(rows, shape.hidden);
    mixed_q_.resize(rows, shape.heads * shape.head_dim);
    gated_q_.resize(rows, shape.intermediate);
    span_of_.resize(rows);
    low_rank_ = 0;
    for (int s = 0; s < step.spans; ++s)
      if (step.span_adapters[s] != nullptr) low_rank_ = std::max(low_rank_, step.span_adapters[s]->rank());
    grow(low_, size_t(rows) * low_rank_);
    for (int s = 0; s < step.spans; ++s)
      for (int r = 0; r < step.span_count[s]; ++r) span_of_[step.span_start[s] + r] = s;
    longest_ = 0;
    for (int r = 0; r < rows; ++r) longest_ = std::max(longest_, step.positions[r] + 1);
    stride_ = (longest_ + kBlock - 1) / kBlock * kBlock;
    for (auto& s : scores_) grow(s, size_t(kQueries) * stride_);
    over_rows(rows, [&](int r) {
      float* x = &x_[size_t(r) * shape.hidden];
      get_row(embedding, step.tokens[r], x);
      for (int i = 0; i < shape.hidden; ++i) x[i] *= shape.embedding_scale;
      for (Rotation& rotation : rotations_) rotation.turn_to(r, step.positions[r]);
    });
    // The queries of a step, grouped by what they can share: a sequence and a key-value head.
    tasks_.clear();
    const int group = shape.heads / shape.kv_heads;
    for (int s = 0; s < step.spans; ++s) {
      const int vectors = step.span_count[s] * group;
      // One row alone gives few tasks: smaller ones balance better.
      const int most = rows == 1 ? std::max(1, (group + 1) / 2) : kQueries;
      for (int h = 0; h < shape.kv_heads; ++h)
        for (int v = 0; v < vectors; v += most) tasks_.push_back({s, h, v, std::min(most, vectors - v)});
    }
  }

  void run_layer(const Step& step, int index) {
    const LayerWeights& w = layers[index];
    const int rows = step.rows;
    const Matrix* parts[] = {&w.q, &w.k, &w.v};
    normalize_rows(step, w.input_norm, parts, index, kQkv);
    over_tiles(w.q.tiles() + w.k.tiles() + w.v.tiles(), [&](int begin, int end) {
      int base = 0;
      for (const Matrix* m : parts) {
        const int from = std::max(begin - base, 0), to = std::min(end - base, m->tiles());
        if (from < to)
          multiply(*m, from, to, hidden_q_, rows, [&](int r, int t, f32x16 out) {
            const int at = (base + t) * kTile;
            out = expand(step, index, kQkv, r, at, biased(out, w.qkv_bias, at));
            store(&qkv_[size_t(r) * width_ + at], out);
          });
        base += m->tiles();
      }
    });
    over_rows(rows, [&](int r) { rotate_and_store(step, index, r); });
    attend_all(step, index);
    over_rows(rows, [&](int r) {
      const float* mixed = &mixed_[size_t(r) * shape.heads * shape.head_dim];
      mixed_q_.put_row(w.output.kind, r, mixed);
      reduce(step, index, kOutput, r, mixed);
    });
    add_product(step, w.output, mixed_q_, w.output_bias, w.attention_post_norm, index, kOutput);
    const Matrix* gated[] = {&w.gate, &w.up};
    normalize_rows(step, w.mlp_norm, gated, index, kGateUp);
    over_tiles(w.gate.tiles(), [&](int begin, int end) {
      multiply(w.gate, begin, end, hidden_q_, rows, [&](int r, int t, f32x16 out) {
        const f32x16 gate = expand(step, index, kGateUp, r, t * kTile, biased(out, w.gate_bias, t * kTile));
        store(&gated_[size_t(r) * shape.intermediate + t * kTile],
              shape.activation == kGeluTanh ? gelu_tanh16(gate) : silu16(gate));
      });
      multiply(w.up, begin, end, hidden_q_, rows, [&](int r, int t, f32x16 out) {
        float* g = &gated_[size_t(r) * shape.intermediate + t * kTile];
        out = biased(out, w.up_bias, t * kTile);
        store(g, load(g) * expand(step, index, kGateUp, r, shape.intermediate + t * kTile, out));
      });
    });
    over_rows(rows, [&](int r) {
      const float* gated = &gated_[size_t(r) * shape.intermediate];
      gated_q_.put_row(w.down.kind, r, gated);
      reduce(step, index, kDown, r, gated);
    });
    add_product(step, w.down, gated_q_, w.down_bias, w.mlp_post_norm, index, kDown);
  }

  // x += norm(m · in + bias), or without the norm where there is none.
  void add_product(const Step& step, const Matrix& m, const Activations& in, const std::vector<float>& bias,
                   const std::vector<float>& post_norm, int index, Projection projection) {
    const int rows = step.rows, hidden = shape.hidden;
    const bool direct = post_norm.empty();
    if (!direct) grow(branch_, size_t(rows) * hidden);
    over_tiles(m.tiles(), [&](int begin, int end) {
      multiply(m, begin, end, in, rows, [&](int r, int t, f32x16 out) {
        const size_t at = size_t(r) * hidden + t * kTile;
        out = expand(step, index, projection, r, t * kTile, biased(out, bias, t * kTile));
        if (direct)
          store(&x_[at], load(&x_[at]) + out);
        else
          store(&branch_[at], out);
      });
    });
    if (direct) return;
    over_rows(rows, [&](int r) {
      float* x = &x_[size_t(r) * hidden];
      float* y = &branch_[size_t(r) * hidden];
      normalize(y, post_norm.data(), hidden, y);
      for (int i = 0; i < hidden; i += kTile) store(x + i, load(x + i) + load(y + i));
    });
  }

  static f32x16 biased(f32x16 out, const std::vector<float>& bias, int at) {
    return bias.empty() ? out : out + load(&bias[at]);
  }

  void sample(const Step& step, float* logits) {
    const Matrix& out = head.data != nullptr ? head : embedding;
    hidden_q_.resize(step.samples, shape.hidden);
    over_rows(step.samples, [&](int s) {
      std::vector<float> y(shape.hidden);
      normalize(&x_[size_t(step.sample_rows[s]) * shape.hidden], norm.data(), shape.hidden, y.data());
      hidden_q_.put_row(out.kind, s, y.data());
    });
    over_tiles(out.tiles(), [&](int begin, int end) {
      multiply(out, begin, end, hidden_q_, step.samples, [&](int s, int t, f32x16 v) {
        store(logits + size_t(s) * shape.vocab + t * kTile,
              // squash would make a number of NaN.
              shape.final_softcap > 0 ? select(equal(v, v), squash(v, shape.final_softcap), v) : v);
      });
    });
  }

  // Computes the low-rank values of a row for a projection whose inputs are x, if an adapter changes it.
  void reduce(const Step& step, int index, Projection projection, int r, const float* x) {
    const Adapter* adapter = step.span_adapters[span_of_[r]];
    if (adapter != nullptr) adapter->layers[index][projection].reduce(x, &low_[size_t(r) * low_rank_]);
  }

  // 16 outputs of a projection with what the row's adapter adds.
  f32x16 expand(const Step& step, int index, Projection projection, int r, int at, f32x16 out) const {
    const Adapter* adapter = step.span_adapters[span_of_[r]];
    return adapter == nullptr ? out : adapter->layers[index][projection].expand(&low_[size_t(r) * low_rank_], at, out);
  }

  // Prepares all rows for products with matrices that may be of different kinds.
  template <int N>
  void normalize_rows(const Step& step, const std::vector<float>& weight, const Matrix* const (&readers)[N], int index,
                      Projection projection) {
    over_rows(step.rows, [&](int r) {
      thread_local std::vector<float> y;
      y.resize(shape.hidden);
      normalize(&x_[size_t(r) * shape.hidden], weight.data(), shape.hidden, y.data());
      const auto plain = [](const Matrix* m) { return m->kind == kBF16; };
      if (std::any_of(readers, readers + N, plain)) hidden_q_.put_row(kBF16, r, y.data());
      const Matrix* const* rounded = std::find_if_not(readers, readers + N, plain);
      if (rounded != readers + N) hidden_q_.put_row((*rounded)->kind, r, y.data());
      reduce(step, index, projection, r, y.data());
    });
  }

  // y = x / rms(x) · weight
  void normalize(const float* x, const float* weight, int n, float* y) const {
    f32x16 squares = zero();
    for (int i = 0; i < n; i += 16) {
      const f32x16 v = load(x + i);
      squares = fma(v, v, squares);
    }
    const f32x16 f = set1(1.0f / std::sqrt(reduce_add(squares) / n + shape.norm_eps));
    for (int i = 0; i < n; i += 16) store(y + i, load(x + i) * f * load(weight + i));
  }

  void rotate_and_store(const Step& step, int index, int r) {
    const LayerWeights& w = layers[index];
    const Rotation& rotation = rotations_[layer_shapes_[index].rope];
    const int dim = shape.head_dim, pairs = rotation.pairs();
    const float* cos = &rotation.cosines[size_t(r) * pairs];
    const float* sin = &rotation.sines[size_t(r) * pairs];
    float* row = &qkv_[size_t(r) * width_];
    const auto turn = [&](float* v, const std::vector<float>& head_norm, float scale) {
      if (!head_norm.empty()) normalize(v, head_norm.data(), dim, v);
      for (int i = 0; i < pairs; ++i) {
        const float a = v[i], b = v[i + pairs];
        v[i] = (a * cos[i] - b * sin[i]) * scale;
        v[i + pairs] = (b * cos[i] + a * sin[i]) * scale;
      }
      for (int i = 2 * pairs; i < dim; ++i) v[i] *= scale;
    };
    for (int h = 0; h < shape.heads; ++h) turn(row + h * dim, w.q_norm, shape.attention_scale);
    const int place = step.positions[r];
    const int block = step.blocks[step.span_blocks[span_of_[r]] + place / kBlock], slot = place % kBlock;
    for (int h = 0; h < shape.kv_heads; ++h) {
      float* key = row + (shape.heads + h) * dim;
      const float* value = row + (shape.heads + shape.kv_heads + h) * dim;
      turn(key, w.k_norm, 1.0f);
      const size_t at = (size_t(block) * shape.kv_heads + h) * dim * kBlock;
      uint16_t* keys = cache_layers_[index].keys + at;
      uint16_t* values = cache_layers_[index].values + at + size_t(slot) * dim;
      for (int d = 0; d < dim; ++d) keys[d * kBlock + slot] = f32_to_f16(key[d]);
      for (int d = 0; d < dim; d += 16) store_f16(values + d, load(value + d));
    }
  }

  struct Task {
    int span, head, first, count;
  };

  void attend_all(const Step& step, int index) {
    const int dim = shape.head_dim, group = shape.heads / shape.kv_heads;
    const int window = layer_shapes_[index].window;
    pool_.loop(int(tasks_.size()), [&](int i, int thread) {
      const Task& task = tasks_[i];
      Query queries[kQueries];
      for (int n = 0; n < task.count; ++n) {
        const int vector = task.first + n;
        const int row = step.span_start[task.span] + vector / group;
        const int head = task.head * group + vector % group;
        const int limit = step.positions[row] + 1;
        queries[n] = {&qkv_[size_t(row) * width_ + head * dim], &mixed_[(size_t(row) * shape.heads + head) * dim],
                      window > 0 ? std::max(0, limit - window) : 0, limit};
      }
      attend(task.count, queries, cache_layers_[index], step.blocks + step.span_blocks[task.span], task.head,
             shape.kv_heads, dim, shape.attention_softcap, scores_[thread].data(), stride_);
    });
  }

  static void grow(std::vector<float>& v, size_t size) {
    if (v.size() < size) v.resize(size);
  }

  // A rotary embedding and its cosines and sines for the rows of a step, [rows, pairs].
  struct Rotation {
    std::vector<float> frequencies;
    float scale;
    std::vector<float> cosines, sines;

    int pairs() const { return int(frequencies.size()); }
    void grow_to(int rows) {
      grow(cosines, size_t(rows) * pairs());
      grow(sines, size_t(rows) * pairs());
    }
    void turn_to(int row, int position) {
      for (int i = 0; i < pairs(); ++i) {
        const float angle = float(position) * frequencies[i];
        cosines[size_t(row) * pairs() + i] = std::cos(angle) * scale;
        sines[size_t(row) * pairs() + i] = std::sin(angle) * scale;
      }
    }
  };

  Pool pool_;
  std::vector<LayerShape> layer_shapes_;
  std::vector<Rotation> rotations_;
  std::vector<std::vector<float>> scores_;
  std::vector<CacheLayer> cache_layers_;
  void* cache_ = MAP_FAILED;
  size_t cache_bytes_ = 0;
  int blocks_ = 0;
  bool checked_ = false;
  std::vector<float> x_, branch_, qkv_, mixed_, gated_;
  Activations hidden_q_, mixed_q_, gated_q_;
  std::vector<int> span_of_;
  std::vector<Task> tasks_;
  std::vector<RowSampler> samplers_;
  int width_ = 0, longest_ = 0, stride_ = 0;
  std::vector<float> low_;  // [rows, low_rank_]
  int low_rank_ = 0;
};

}  // namespace inferloom
