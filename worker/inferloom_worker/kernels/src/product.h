// Products of quantised weights with 8-bit activations.
//
// Activations are quantised to 8 bits in groups of 32 with a float32 scale each, as llama.cpp does, so the
// inner loop is integer dot products. The order of operations on a row does not depend on how many rows there
// are: a row's result is the same bit for bit alone and in a batch.
#pragma once

#include <algorithm>
#include <vector>

#include "weights.h"

namespace inferloom {

// Rows of quantised activations.
struct Activations {
  int cols = 0;
  std::vector<int8_t> q;      // [rows, cols]
  std::vector<float> scale;   // [rows, cols / 32]
  std::vector<float> total;   // [rows, cols / 32]: scale · sum of q

  void resize(int rows, int c) {
    cols = c;
    if (q.size() < size_t(rows) * c) {
      q.resize(size_t(rows) * c);
      scale.resize(size_t(rows) * (c / kGroup));
      total.resize(size_t(rows) * (c / kGroup));
    }
  }

  void quantize(int row, const float* x) {
    const int groups = cols / kGroup;
    for (int g = 0; g < groups; ++g) {
      const f32x16 a = _mm512_loadu_ps(x + g * kGroup), b = _mm512_loadu_ps(x + g * kGroup + 16);
      const float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
      const float step = most / 127.0f, inverse = most > 0 ? 127.0f / most : 0.0f;
      const i32x16 qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
      const i32x16 qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
      int8_t* out = q.data() + size_t(row) * cols + g * kGroup;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(qa));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm512_cvtepi32_epi8(qb));
      scale[size_t(row) * groups + g] = step;
      total[size_t(row) * groups + g] = step * float(_mm512_reduce_add_epi32(_mm512_add_epi32(qa, qb)));
    }
  }
};

inline i32x16 broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

// out[r][0 … 15] = tile · activations of rows first … first + R - 1.
template <Kind K, int R>
inline void tile_product(const uint8_t* tile, const Activations& x, int first, f32x16* out) {
  const int groups = x.cols / kGroup;
  const int8_t* q = x.q.data() + size_t(first) * x.cols;
  const float* scale = x.scale.data() + size_t(first) * groups;
  const float* total = x.total.data() + size_t(first) * groups;
  f32x16 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = _mm512_setzero_ps();
  const i32x16 nibble = _mm512_set1_epi8(15);
  for (int g = 0; g < groups; ++g, tile += group_bytes(K)) {
    const auto* packed = reinterpret_cast<const __m512i*>(tile);
    i32x16 dot[R], upper[R];
    for (int r = 0; r < R; ++r) dot[r] = upper[r] = _mm512_setzero_si512();
    if constexpr (K == kQ4 || K == kQ4F) {
      for (int v = 0; v < 4; ++v) {
        const i32x16 both = _mm512_loadu_si512(packed + v);
        const i32x16 low = _mm512_and_si512(both, nibble);
        const i32x16 high = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
        for (int r = 0; r < R; ++r) {
          const int8_t* a = q + size_t(r) * x.cols + g * kGroup + 4 * v;
          dot[r] = _mm512_dpbusd_epi32(dot[r], low, broadcast4(a));
          if constexpr (R <= 4) {
            upper[r] = _mm512_dpbusd_epi32(upper[r], high, broadcast4(a + 16));
          } else {
            dot[r] = _mm512_dpbusd_epi32(dot[r], high, broadcast4(a + 16));
          }
        }
      }
      if constexpr (R <= 4)
        for (int r = 0; r < R; ++r) dot[r] = _mm512_add_epi32(dot[r], upper[r]);
      f32x16 d, m;
      if constexpr (K == kQ4) {
        const auto* h = reinterpret_cast<const uint16_t*>(tile + 256);
        d = load_f16(h), m = load_f16(h + kTile);
      } else {
        const auto* f = reinterpret_cast<const float*>(tile + 256);
        d = _mm512_loadu_ps(f), m = _mm512_loadu_ps(f + kTile);
      }
      for (int r = 0; r < R; ++r) {
        const f32x16 s = _mm512_set1_ps(scale[size_t(r) * groups + g]);
        const f32x16 t = _mm512_set1_ps(total[size_t(r) * groups + g]);
        sum[r] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot[r]), d), s, sum[r]);
        sum[r] = _mm512_fmadd_ps(m, t, sum[r]);
      }
    } else {
      for (int v = 0; v < 4; ++v) {
        const i32x16 low = _mm512_loadu_si512(packed + v), high = _mm512_loadu_si512(packed + v + 4);
        for (int r = 0; r < R; ++r) {
          const int8_t* a = q + size_t(r) * x.cols + g * kGroup + 4 * v;
          dot[r] = _mm512_dpbusd_epi32(dot[r], low, broadcast4(a));
          upper[r] = _mm512_dpbusd_epi32(upper[r], high, broadcast4(a + 16));
        }
      }
      // Weights are stored with 128 added; the activations' own sums take it off again.
      if constexpr (K == kQ8) {
        const f32x16 d = load_f16(reinterpret_cast<const uint16_t*>(tile + 512));
        const f32x16 m = _mm512_mul_ps(d, _mm512_set1_ps(-128.0f));
        for (int r = 0; r < R; ++r) {
          const f32x16 s = _mm512_set1_ps(scale[size_t(r) * groups + g]);
          const f32x16 t = _mm512_set1_ps(total[size_t(r) * groups + g]);
          const f32x16 whole = _mm512_cvtepi32_ps(_mm512_add_epi32(dot[r], upper[r]));
          sum[r] = _mm512_fmadd_ps(_mm512_mul_ps(whole, d), s, sum[r]);
          sum[r] = _mm512_fmadd_ps(m, t, sum[r]);
        }
      } else {
        const auto* f = reinterpret_cast<const float*>(tile + 512);
        const f32x16 d0 = _mm512_loadu_ps(f), d1 = _mm512_loadu_ps(f + kTile);
        for (int r = 0; r < R; ++r) {
          const int8_t* a = q + size_t(r) * x.cols + g * kGroup;
          int first_half = 0, second_half = 0;
          for (int k = 0; k < 16; ++k) first_half += a[k], second_half += a[k + 16];
          const i32x16 lower = _mm512_sub_epi32(dot[r], _mm512_set1_epi32(128 * first_half));
          const i32x16 higher = _mm512_sub_epi32(upper[r], _mm512_set1_epi32(128 * second_half));
          const f32x16 s = _mm512_set1_ps(scale[size_t(r) * groups + g]);
          const f32x16 both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(higher), d1, _mm512_mul_ps(_mm512_cvtepi32_ps(lower), d0));
          sum[r] = _mm512_fmadd_ps(both, s, sum[r]);
        }
      }
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
