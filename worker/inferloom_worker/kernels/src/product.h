// Products of quantised weights with 15-bit activations.
//
// Activations are rounded to 15 bits in groups of 32 with a float32 scale each, held as two planes of 8 bits,
// q = 128 · high + low, so that the inner loop is 8-bit dot products. (One plane alone, as llama.cpp has it,
// is the larger part of a 4-bit model's error.) The order of operations on a row does not depend on how many
// rows there are: a row's result is the same bit for bit alone and in a batch.
#pragma once

#include <algorithm>
#include <vector>

#include "weights.h"

namespace inferloom {

// Rows of quantised activations.
struct Activations {
  int cols = 0;
  std::vector<int8_t> q;      // [rows, cols / 32, 2, 32]: each group's high plane, then its low one
  std::vector<float> scale;   // [rows, cols / 32]
  std::vector<float> total;   // [rows, cols / 32]: scale · sum of q

  void resize(int rows, int c) {
    cols = c;
    if (q.size() < size_t(rows) * c * 2) {
      q.resize(size_t(rows) * c * 2);
      scale.resize(size_t(rows) * (c / kGroup));
      total.resize(size_t(rows) * (c / kGroup));
    }
  }

  void quantize(int row, const float* x) {
    const int groups = cols / kGroup;
    constexpr float kMost = 127 * 128;
    for (int g = 0; g < groups; ++g) {
      const f32x16 a = _mm512_loadu_ps(x + g * kGroup), b = _mm512_loadu_ps(x + g * kGroup + 16);
      const float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
      const float step = most / kMost, inverse = most > 0 ? kMost / most : 0.0f;
      const i32x16 qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
      const i32x16 qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
      int8_t* out = q.data() + (size_t(row) * groups + g) * 2 * kGroup;
      put(out, qa), put(out + 16, qb);
      scale[size_t(row) * groups + g] = step;
      total[size_t(row) * groups + g] = step * float(_mm512_reduce_add_epi32(_mm512_add_epi32(qa, qb)));
    }
  }

 private:
  static void put(int8_t* out, i32x16 v) {
    const i32x16 high = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(64)), 7);
    const i32x16 low = _mm512_sub_epi32(v, _mm512_slli_epi32(high, 7));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + kGroup), _mm512_cvtepi32_epi8(low));
  }
};

inline i32x16 broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// The dot products of one half group: four consecutive inputs per lane and step, R rows.
template <int R>
inline void dot4(i32x16 w, const int8_t* a, size_t row_bytes, i32x16* high, i32x16* low) {
  for (int r = 0; r < R; ++r, a += row_bytes) {
    high[r] = _mm512_dpbusd_epi32(high[r], w, broadcast4(a));
    low[r] = _mm512_dpbusd_epi32(low[r], w, broadcast4(a + kGroup));
  }
}

inline i32x16 join(i32x16 high, i32x16 low) { return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low); }

// out[r][0 … 15] = tile · activations of rows first … first + R - 1.
template <Kind K, int R>
inline void tile_product(const uint8_t* tile, const Activations& x, int first, f32x16* out) {
  const int groups = x.cols / kGroup;
  const size_t row_bytes = size_t(x.cols) * 2;
  const int8_t* q = x.q.data() + first * row_bytes;
  const float* scale = x.scale.data() + size_t(first) * groups;
  const float* total = x.total.data() + size_t(first) * groups;
  f32x16 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = _mm512_setzero_ps();
  const i32x16 nibble = _mm512_set1_epi8(15);
  for (int g = 0; g < groups; ++g, tile += group_bytes(K), q += 2 * kGroup) {
    const auto* packed = reinterpret_cast<const __m512i*>(tile);
    i32x16 high[R], low[R];
    for (int r = 0; r < R; ++r) high[r] = low[r] = _mm512_setzero_si512();
    if constexpr (K == kQ4 || K == kQ4F) {
      for (int v = 0; v < 4; ++v) {
        const i32x16 both = _mm512_loadu_si512(packed + v);
        dot4<R>(_mm512_and_si512(both, nibble), q + 4 * v, row_bytes, high, low);
        dot4<R>(_mm512_and_si512(_mm512_srli_epi16(both, 4), nibble), q + 16 + 4 * v, row_bytes, high, low);
      }
    } else if constexpr (K == kQ8) {
      for (int v = 0; v < 8; ++v) dot4<R>(_mm512_loadu_si512(packed + v), q + 4 * v, row_bytes, high, low);
    } else {
      // Two scales in a group: the first half is finished before the second is begun.
      const auto* f = reinterpret_cast<const float*>(tile + 512);
      for (int half = 0; half < 2; ++half) {
        for (int v = 4 * half; v < 4 * half + 4; ++v)
          dot4<R>(_mm512_loadu_si512(packed + v), q + 4 * v, row_bytes, high, low);
        const f32x16 d = _mm512_loadu_ps(f + half * kTile);
        for (int r = 0; r < R; ++r) {
          const int8_t* a = q + r * row_bytes + 16 * half;
          int sum_high = 0, sum_low = 0;
          for (int k = 0; k < 16; ++k) sum_high += a[k], sum_low += a[kGroup + k];
          // Weights are stored with 128 added; the activations' own sums take it off again.
          const i32x16 excess = _mm512_set1_epi32(128 * (128 * sum_high + sum_low));
          const f32x16 whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(join(high[r], low[r]), excess));
          const f32x16 s = _mm512_set1_ps(scale[size_t(r) * groups + g]);
          sum[r] = _mm512_fmadd_ps(_mm512_mul_ps(whole, d), s, sum[r]);
          high[r] = low[r] = _mm512_setzero_si512();
        }
      }
      continue;
    }
    f32x16 d, m;
    if constexpr (K == kQ4) {
      const auto* h = reinterpret_cast<const uint16_t*>(tile + 256);
      d = load_f16(h), m = load_f16(h + kTile);
    } else if constexpr (K == kQ4F) {
      const auto* f = reinterpret_cast<const float*>(tile + 256);
      d = _mm512_loadu_ps(f), m = _mm512_loadu_ps(f + kTile);
    } else {
      d = load_f16(reinterpret_cast<const uint16_t*>(tile + 512));
      m = _mm512_mul_ps(d, _mm512_set1_ps(-128.0f));  // weights are stored with 128 added
    }
    for (int r = 0; r < R; ++r) {
      const f32x16 s = _mm512_set1_ps(scale[size_t(r) * groups + g]);
      const f32x16 t = _mm512_set1_ps(total[size_t(r) * groups + g]);
      const f32x16 whole = _mm512_cvtepi32_ps(join(high[r], low[r]));
      sum[r] = _mm512_fmadd_ps(_mm512_mul_ps(whole, d), s, sum[r]);
      sum[r] = _mm512_fmadd_ps(m, t, sum[r]);
    }
  }
  for (int r = 0; r < R; ++r) out[r] = sum[r];
}

// Calls sink(row, out) with the 16 outputs of every row for one tile.
template <Kind K, class Sink>
inline void tile_rows(const uint8_t* tile, const Activations& x, int rows, Sink&& sink) {
  f32x16 out[8];
  int first = 0;
  for (; first + 8 <= rows; first += 8) {
    tile_product<K, 8>(tile, x, first, out);
    for (int r = 0; r < 8; ++r) sink(first + r, out[r]);
  }
  auto rest = [&](auto constant) {
    constexpr int R = decltype(constant)::value;
    tile_product<K, R>(tile, x, first, out);
    for (int r = 0; r < R; ++r) sink(first + r, out[r]);
  };
  switch (rows - first) {
    case 1: rest(std::integral_constant<int, 1>{}); break;
    case 2: rest(std::integral_constant<int, 2>{}); break;
    case 3: rest(std::integral_constant<int, 3>{}); break;
    case 4: rest(std::integral_constant<int, 4>{}); break;
    case 5: rest(std::integral_constant<int, 5>{}); break;
    case 6: rest(std::integral_constant<int, 6>{}); break;
    case 7: rest(std::integral_constant<int, 7>{}); break;
    default: break;
  }
}

template <class Sink>
inline void tile_rows(const Matrix& m, int tile, const Activations& x, int rows, Sink&& sink) {
  switch (m.kind) {
    case kQ4: tile_rows<kQ4>(m.tile(tile), x, rows, sink); break;
    case kQ4F: tile_rows<kQ4F>(m.tile(tile), x, rows, sink); break;
    case kQ8: tile_rows<kQ8>(m.tile(tile), x, rows, sink); break;
    case kQ8F: tile_rows<kQ8F>(m.tile(tile), x, rows, sink); break;
  }
}

}  // namespace inferloom
