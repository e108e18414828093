// Causal attention over the paged cache.
//
// The cache is float16. A block holds 16 tokens of one key-value head: keys as [head_dim][16], so that one
// load gives a dimension of all 16 tokens, and values as [16][head_dim]. Arithmetic is float32. Every query
// adds up its own context in order, so its result does not depend on the queries beside it.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "vec.h"

namespace inferloom {

constexpr int kBlock = 16;
constexpr int kQueries = 8;  // queries that share one pass over keys and values

// One layer's cache.
struct CacheLayer {
  uint16_t* keys;    // [blocks][kv_heads][head_dim][16]
  uint16_t* values;  // [blocks][kv_heads][16][head_dim]
};

struct Query {
  const float* q;  // [head_dim], scaled
  float* out;      // [head_dim]
  int first;       // sees tokens first … limit - 1 of its sequence
  int limit;
};

// softcap · tanh(x / softcap), with tanh(y) = 1 - 2 / (e^2y + 1).
inline f32x16 squash(f32x16 x, float softcap) {
  const f32x16 one = _mm512_set1_ps(1.0f), two = _mm512_set1_ps(2.0f);
  const f32x16 e = exp16(_mm512_mul_ps(x, _mm512_set1_ps(2.0f / softcap)));
  return _mm512_mul_ps(_mm512_set1_ps(softcap), _mm512_sub_ps(one, _mm512_div_ps(two, _mm512_add_ps(e, one))));
}

// Attends with N queries of one sequence and one key-value head. scores has room for N · stride floats, stride
// a multiple of 16 that is at least the longest limit.
template <int N>
inline void attend(const Query* queries, const CacheLayer& cache, const int32_t* blocks, int head, int heads,
                   int dim, float softcap, float* scores, int stride) {
  int from = queries[0].first, to = queries[0].limit;
  for (int n = 1; n < N; ++n) from = std::min(from, queries[n].first), to = std::max(to, queries[n].limit);
  const int first_block = from / kBlock, last_block = (to - 1) / kBlock;
  const size_t block_size = size_t(heads) * dim * kBlock, head_at = size_t(head) * dim * kBlock;

  f32x16 most[N];
  for (int n = 0; n < N; ++n) most[n] = _mm512_set1_ps(-INFINITY);
  const i32x16 lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // One or two blocks at a time: two share the loads of the queries.
  const auto score_blocks = [&](int b, auto width) {
    constexpr int W = decltype(width)::value;
    f32x16 score[N][W];
    for (int n = 0; n < N; ++n)
      for (int w = 0; w < W; ++w) score[n][w] = _mm512_setzero_ps();
    const uint16_t* keys[W];
    for (int w = 0; w < W; ++w) keys[w] = cache.keys + blocks[b + w] * block_size + head_at;
    for (int d = 0; d < dim; ++d) {
      f32x16 key[W];
      for (int w = 0; w < W; ++w) key[w] = load_f16(keys[w] + d * kBlock);
      for (int n = 0; n < N; ++n) {
        const f32x16 q = _mm512_set1_ps(queries[n].q[d]);
        for (int w = 0; w < W; ++w) score[n][w] = _mm512_fmadd_ps(q, key[w], score[n][w]);
      }
    }
    for (int w = 0; w < W; ++w) {
      const i32x16 place = _mm512_add_epi32(lane, _mm512_set1_epi32((b + w) * kBlock));
      for (int n = 0; n < N; ++n) {
        f32x16 s = softcap > 0 ? squash(score[n][w], softcap) : score[n][w];
        const __mmask16 seen = _mm512_cmplt_epi32_mask(place, _mm512_set1_epi32(queries[n].limit)) &
                               _mm512_cmpge_epi32_mask(place, _mm512_set1_epi32(queries[n].first));
        s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, s);
        most[n] = _mm512_max_ps(most[n], s);
        _mm512_storeu_ps(scores + n * stride + (b + w) * kBlock, s);
      }
    }
  };
  int next = first_block;
  for (; next + 1 <= last_block; next += 2) score_blocks(next, std::integral_constant<int, 2>{});
  if (next <= last_block) score_blocks(next, std::integral_constant<int, 1>{});

  float inverse[N];
  for (int n = 0; n < N; ++n) {
    const f32x16 top = _mm512_set1_ps(_mm512_reduce_max_ps(most[n]));
    f32x16 sum = _mm512_setzero_ps();
    for (int b = first_block; b <= last_block; ++b) {
      float* at = scores + n * stride + b * kBlock;
      const f32x16 s = _mm512_loadu_ps(at);
      const __mmask16 seen = _mm512_cmp_ps_mask(s, _mm512_set1_ps(-INFINITY), _CMP_NEQ_OQ);
      const f32x16 e = _mm512_maskz_mov_ps(seen, exp16(_mm512_sub_ps(s, top)));
      _mm512_storeu_ps(at, e);
      sum = _mm512_add_ps(sum, e);
    }
    inverse[n] = 1.0f / _mm512_reduce_add_ps(sum);
  }

  for (int d = 0; d < dim; d += 32) {
    const bool pair = d + 32 <= dim;
    f32x16 low[N], high[N];
    for (int n = 0; n < N; ++n) low[n] = high[n] = _mm512_setzero_ps();
    for (int b = first_block; b <= last_block; ++b) {
      const uint16_t* values = cache.values + blocks[b] * block_size + head_at + d;
      // Places past the longest limit hold whatever was there before: they are not read.
      const int begin = std::max(from - b * kBlock, 0), end = std::min(to - b * kBlock, kBlock);
      for (int t = begin; t < end; ++t) {
        const f32x16 a = load_f16(values + t * dim);
        const f32x16 c = pair ? load_f16(values + t * dim + 16) : _mm512_setzero_ps();
        for (int n = 0; n < N; ++n) {
          const f32x16 p = _mm512_set1_ps(scores[n * stride + b * kBlock + t]);
          low[n] = _mm512_fmadd_ps(p, a, low[n]);
          high[n] = _mm512_fmadd_ps(p, c, high[n]);
        }
      }
    }
    for (int n = 0; n < N; ++n) {
      const f32x16 f = _mm512_set1_ps(inverse[n]);
      _mm512_storeu_ps(queries[n].out + d, _mm512_mul_ps(low[n], f));
      if (pair) _mm512_storeu_ps(queries[n].out + d + 16, _mm512_mul_ps(high[n], f));
    }
  }
}

inline void attend(int count, const Query* queries, const CacheLayer& cache, const int32_t* blocks, int head,
                   int heads, int dim, float softcap, float* scores, int stride) {
  switch (count) {
    case 1: return attend<1>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 2: return attend<2>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 3: return attend<3>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 4: return attend<4>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 5: return attend<5>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 6: return attend<6>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 7: return attend<7>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
    case 8: return attend<8>(queries, cache, blocks, head, heads, dim, softcap, scores, stride);
  }
}

}  // namespace inferloom
