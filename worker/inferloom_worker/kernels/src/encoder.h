// A BERT-shaped text encoder over a batch of texts, packed without padding.
#pragma once

#include <array>
#include <cmath>
#include <vector>

#include "attention.h"
#include "check.h"
#include "pool.h"
#include "product.h"

namespace inferloom {

// Which of a text's rows become its vector: their mean, the first, or the last.
enum Pooling : int { kMean = 0, kFirst = 1, kLast = 2 };

struct EncoderShape {
  int32_t layers, hidden, heads, intermediate, vocab, positions, segments;
  int32_t pooling;
  float norm_eps;
};

struct EncoderLayer {
  Matrix q, k, v, output, up, down;
  std::vector<float> qkv_bias, output_bias, norm1, norm1_bias, up_bias, down_bias, norm2, norm2_bias;

  std::array<Matrix*, 6> matrices() { return {&q, &k, &v, &output, &up, &down}; }
  std::array<std::vector<float>*, 8> vectors() {
    return {&qkv_bias, &output_bias, &norm1, &norm1_bias, &up_bias, &down_bias, &norm2, &norm2_bias};
  }
};

// Refuses a shape that the encoder does not compute.
inline void check_shape(const EncoderShape& s) {
  require_between(s.layers, 0, kMostLayers, "the number of layers");
  for (const int width : {s.hidden, s.intermediate, s.vocab, s.positions, s.segments})
    require_between(width, 1, kMostWidth, "a width");
  require_between(s.heads, 1, 1 << 12, "the number of heads");
  require(s.hidden % kGroup == 0 && s.intermediate % kGroup == 0, "widths that are not in whole groups");
  require(s.hidden % (s.heads * kTile) == 0, "heads that are not in whole tiles");
  require_between(s.pooling, kMean, kLast + 1, "a pooling");
}

class Encoder {
 public:
  Encoder(const EncoderShape& shape, int threads)
      : shape(shape),
        layers(shape.layers),
        pool_(threads),
        scores_(pool_.threads()),
        hidden_q_(parts(shape)),
        mixed_q_(parts(shape)),
        wide_q_(parts(shape)) {}

  std::array<std::vector<float>*, 5> outer() { return {&words, &places, &kinds, &norm, &norm_bias}; }

  // Refuses texts that would read outside of what there is. Linear in their tokens.
  void check(int texts, const int32_t* tokens, const int32_t* segments, const int32_t* counts) {
    check_weights();
    require(texts >= 0, "less than no texts");
    long long rows = 0;
    for (int t = 0; t < texts; ++t) {
      require_between(counts[t], 1, shape.positions + 1LL, "the length of a text");
      rows += counts[t];
    }
    require_between(rows, 0, kMostWidth, "the tokens of a batch");
    for (long long r = 0; r < rows; ++r) {
      require_between(tokens[r], 0, shape.vocab, "a token");
      if (segments) require_between(segments[r], 0, shape.segments, "a token's segment");
    }
  }

  // Writes one row [hidden] per text. tokens holds the texts one after the other; counts their lengths; segments
  // the kind of each token, which is the first of all where it is null.
  void forward(int texts, const int32_t* tokens, const int32_t* segments, const int32_t* counts, float* out) {
    prepare(texts, tokens, segments, counts);
    for (auto& layer : layers) run_layer(layer);
    pool_.rows(texts, [&](int t) { pool_text(t, out + size_t(t) * shape.hidden); });
  }

  const EncoderShape shape;
  std::vector<EncoderLayer> layers;
  // [vocab, hidden], [positions, hidden], [segments, hidden], and the norm after their sum
  std::vector<float> words, places, kinds, norm, norm_bias;

 private:
  // Refuses to compute before every weight is there, in its size. Only the first batch pays for it.
  void check_weights() {
    if (checked_) return;
    const auto matrix = [](const Matrix& m, int rows, int cols) {
      require(m.data != nullptr && m.rows == rows && m.cols == cols, "a layer lacks a matrix of its size");
    };
    const auto vector = [](const std::vector<float>& v, long long size) {
      require_size((long long)v.size(), size, "a vector of an encoder");
    };
    const int hidden = shape.hidden, wide = shape.intermediate;
    vector(words, (long long)shape.vocab * hidden), vector(places, (long long)shape.positions * hidden);
    vector(kinds, (long long)shape.segments * hidden), vector(norm, hidden), vector(norm_bias, hidden);
    for (const EncoderLayer& w : layers) {
      for (const Matrix* m : {&w.q, &w.k, &w.v, &w.output}) matrix(*m, hidden, hidden);
      matrix(w.up, wide, hidden), matrix(w.down, hidden, wide);
      vector(w.qkv_bias, 3LL * hidden), vector(w.up_bias, wide);
      for (const auto* v : {&w.output_bias, &w.norm1, &w.norm1_bias, &w.down_bias, &w.norm2, &w.norm2_bias})
        vector(*v, hidden);
    }
    checked_ = true;
  }

  struct Text {
    int start, count, block;
  };
  struct Task {
    int text, head, first, count;
  };

  void prepare(int texts, const int32_t* tokens, const int32_t* segments, const int32_t* counts) {
    const int hidden = shape.hidden, dim = hidden / shape.heads;
    texts_.clear(), tasks_.clear();
    int rows = 0, blocks = 0, longest = 0;
    for (int t = 0; t < texts; ++t) {
      texts_.push_back({rows, counts[t], blocks});
      rows += counts[t], blocks += (counts[t] + kBlock - 1) / kBlock, longest = std::max(longest, counts[t]);
      for (int h = 0; h < shape.heads; ++h)
        for (int first = 0; first < counts[t]; first += kQueries)
          tasks_.push_back({t, h, first, std::min(kQueries, counts[t] - first)});
    }
    rows_ = rows, stride_ = (longest + kBlock - 1) / kBlock * kBlock;
    const auto grow = [](auto& v, size_t n) {
      if (v.size() < n) v.resize(n);
    };
    grow(x_, size_t(rows) * hidden), grow(mixed_, size_t(rows) * hidden);
    grow(qkv_, size_t(rows) * 3 * hidden), grow(wide_, size_t(rows) * shape.intermediate);
    grow(keys_, size_t(blocks) * kBlock * hidden), grow(values_, size_t(blocks) * kBlock * hidden);
    grow(text_of_, rows), grow(identity_, blocks);
    for (int b = 0; b < blocks; ++b) identity_[b] = b;
    for (auto& s : scores_) grow(s, size_t(kQueries) * stride_);
    for (int t = 0; t < texts; ++t) std::fill_n(text_of_.begin() + texts_[t].start, counts[t], t);
    hidden_q_.resize(rows, hidden), mixed_q_.resize(rows, hidden), wide_q_.resize(rows, shape.intermediate);
    scale_ = 1.0f / std::sqrt(float(dim));
    pool_.rows(rows, [&](int r) {
      const float* word = &words[size_t(tokens[r]) * hidden];
      const float* place = &places[size_t(r - texts_[text_of_[r]].start) * hidden];
      const float* kind = &kinds[segments ? size_t(segments[r]) * hidden : 0];
      float* x = &x_[size_t(r) * hidden];
      for (int i = 0; i < hidden; ++i) x[i] = word[i] + (place[i] + kind[i]);
      normalize(x, norm, norm_bias);
    });
  }

  void run_layer(EncoderLayer& w) {
    const int hidden = shape.hidden, rows = rows_;
    pool_.rows(rows, [&](int r) { hidden_q_.put_row(w.q.kind, r, &x_[size_t(r) * hidden]); });
    const Matrix* parts[] = {&w.q, &w.k, &w.v};
    const int tiles = w.q.tiles();
    pool_.chunks(3 * tiles, 4, 6, [&](int begin, int end) {
      for (int p = 0; p < 3; ++p) {
        const int from = std::max(begin - p * tiles, 0), to = std::min(end - p * tiles, tiles);
        if (from < to)
          multiply(*parts[p], from, to, hidden_q_, rows, [&](int r, int t, f32x16 out) {
            const int at = (p * tiles + t) * kTile;
            const f32x16 y = out + load(&w.qkv_bias[at]);
            store(&qkv_[size_t(r) * 3 * hidden + at], p == 0 ? y * set1(scale_) : y);
          });
      }
    });
    attend_all();
    pool_.rows(rows, [&](int r) { mixed_q_.put_row(w.output.kind, r, &mixed_[size_t(r) * hidden]); });
    residual(w.output, mixed_q_, w.output_bias);
    pool_.rows(rows, [&](int r) {
      normalize(&x_[size_t(r) * hidden], w.norm1, w.norm1_bias);
      hidden_q_.put_row(w.up.kind, r, &x_[size_t(r) * hidden]);
    });
    pool_.chunks(w.up.tiles(), 4, 6, [&](int begin, int end) {
      multiply(w.up, begin, end, hidden_q_, rows, [&](int r, int t, f32x16 out) {
        store(&wide_[size_t(r) * shape.intermediate + t * kTile], gelu16(out + load(&w.up_bias[t * kTile])));
      });
    });
    pool_.rows(rows, [&](int r) { wide_q_.put_row(w.down.kind, r, &wide_[size_t(r) * shape.intermediate]); });
    residual(w.down, wide_q_, w.down_bias);
    pool_.rows(rows, [&](int r) { normalize(&x_[size_t(r) * hidden], w.norm2, w.norm2_bias); });
  }

  // x += matrix · activations + bias
  void residual(const Matrix& m, const Activations& a, const std::vector<float>& bias) {
    pool_.chunks(m.tiles(), 4, 6, [&](int begin, int end) {
      multiply(m, begin, end, a, rows_, [&](int r, int t, f32x16 out) {
        float* x = &x_[size_t(r) * shape.hidden + t * kTile];
        store(x, load(x) + (out + load(&bias[t * kTile])));
      });
    });
  }

  // Every row sees its whole text: the decoder's attention over blocks of this batch's own keys and values.
  void attend_all() {
    const int hidden = shape.hidden, heads = shape.heads, dim = hidden / heads;
    pool_.rows(rows_, [&](int r) {
      const Text& text = texts_[text_of_[r]];
      const int place = r - text.start, slot = place % kBlock;
      const size_t block = size_t(text.block + place / kBlock) * heads * dim * kBlock;
      const float* key = &qkv_[size_t(r) * 3 * hidden + hidden];
      const float* value = key + hidden;
      for (int h = 0; h < heads; ++h) {
        uint16_t* keys = &keys_[block + size_t(h) * dim * kBlock];
        uint16_t* values = &values_[block + size_t(h) * dim * kBlock + size_t(slot) * dim];
        for (int d = 0; d < dim; ++d) keys[d * kBlock + slot] = f32_to_f16(key[h * dim + d]);
        for (int d = 0; d < dim; d += 16) store_f16(values + d, load(value + h * dim + d));
      }
    });
    const CacheLayer cache{keys_.data(), values_.data()};
    pool_.loop(int(tasks_.size()), [&](int i, int thread) {
      const Task& task = tasks_[i];
      const Text& text = texts_[task.text];
      Query queries[kQueries];
      for (int n = 0; n < task.count; ++n) {
        const size_t row = text.start + task.first + n;
        queries[n] = {&qkv_[row * 3 * hidden + task.head * dim], &mixed_[row * hidden + task.head * dim], 0,
                      text.count};
      }
      attend(task.count, queries, cache, identity_.data() + text.block, task.head, heads, dim, 0.0f,
             scores_[thread].data(), stride_);
    });
  }

  // x = (x - mean) / deviation · weight + bias
  void normalize(float* x, const std::vector<float>& weight, const std::vector<float>& bias) const {
    const int n = shape.hidden;
    f32x16 sum = zero(), squares = zero();
    for (int i = 0; i < n; i += 16) sum = sum + load(x + i);
    const f32x16 mean = set1(reduce_add(sum) / n);
    for (int i = 0; i < n; i += 16) {
      const f32x16 d = load(x + i) - mean;
      squares = fma(d, d, squares);
    }
    const f32x16 f = set1(1.0f / std::sqrt(reduce_add(squares) / n + shape.norm_eps));
    for (int i = 0; i < n; i += 16) {
      store(x + i, fma((load(x + i) - mean) * f, load(&weight[i]), load(&bias[i])));
    }
  }

  void pool_text(int t, float* out) const {
    const Text& text = texts_[t];
    const int hidden = shape.hidden;
    if (shape.pooling != kMean) {
      const int row = shape.pooling == kFirst ? text.start : text.start + text.count - 1;
      std::copy_n(&x_[size_t(row) * hidden], hidden, out);
      return;
    }
    std::fill_n(out, hidden, 0.0f);
    for (int r = text.start; r < text.start + text.count; ++r)
      for (int i = 0; i < hidden; ++i) out[i] += x_[size_t(r) * hidden + i];
    for (int i = 0; i < hidden; ++i) out[i] /= float(text.count);
  }

  Pool pool_;
  std::vector<std::vector<float>> scores_;
  std::vector<Text> texts_;
  std::vector<Task> tasks_;
  std::vector<int> text_of_;
  std::vector<int32_t> identity_;
  std::vector<float> x_, qkv_, mixed_, wide_;
  std::vector<uint16_t> keys_, values_;
  // A mean over a text is as near to float32 as the weights with one part; what is read off one token is not (record
  // 10).
  static int parts(const EncoderShape& s) { return s.pooling == kMean ? 1 : 2; }
  Activations hidden_q_, mixed_q_, wide_q_;
  int rows_ = 0, stride_ = 0;
  float scale_ = 1.0f;
  bool checked_ = false;
};

}  // namespace inferloom
