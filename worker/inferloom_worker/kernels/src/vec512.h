// Sixteen float32 lanes in one AVX-512 register. The same names as in vec256.h.
#pragma once

#include <cstdint>

#include "intrinsics.h"

namespace inferloom {

constexpr int kLive = 16;  // sums that a loop can hold in registers

struct f32x16 {
  __m512 v;
};
using mask16 = __mmask16;

inline f32x16 set1(float x) { return {_mm512_set1_ps(x)}; }
inline f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline f32x16 load_first(const float* p, int count) { return {_mm512_maskz_loadu_ps((1u << count) - 1, p)}; }
inline void store(float* p, f32x16 a) { _mm512_storeu_ps(p, a.v); }

inline f32x16 load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void store_f16(uint16_t* p, f32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
// Lane n of `pairs` holds the bfloat16 inputs 2n and 2n + 1.
inline void load_bf16_pairs(const uint8_t* pairs, f32x16& even, f32x16& odd) {
  const __m512i both = _mm512_loadu_si512(pairs);
  even.v = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
  odd.v = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(int(0xFFFF0000))));
}

inline f32x16 operator+(f32x16 a, f32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline f32x16 operator-(f32x16 a, f32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline f32x16 operator*(f32x16 a, f32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline f32x16 operator/(f32x16 a, f32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a·b + c
inline f32x16 fnma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a·b
inline f32x16 max(f32x16 a, f32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline f32x16 min(f32x16 a, f32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline f32x16 abs(f32x16 a) { return {_mm512_abs_ps(a.v)}; }
inline f32x16 nearest(f32x16 a) { return {_mm512_roundscale_ps(a.v, 0)}; }
inline f32x16 times_power_of_2(f32x16 a, f32x16 n) { return {_mm512_scalef_ps(a.v, n.v)}; }  // n is whole
inline float reduce_add(f32x16 a) { return _mm512_reduce_add_ps(a.v); }
inline float reduce_max(f32x16 a) { return _mm512_reduce_max_ps(a.v); }

inline mask16 less(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline mask16 equal(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
inline f32x16 select(mask16 m, f32x16 yes, f32x16 no) { return {_mm512_mask_mov_ps(no.v, m, yes.v)}; }
// Lanes first … limit - 1; either may lie outside.
inline mask16 lanes(int first, int limit) {
  const unsigned below = limit >= 16 ? 0xFFFFu : limit <= 0 ? 0u : (1u << limit) - 1;
  return static_cast<mask16>(first <= 0 ? below : first >= 16 ? 0u : below & ~((1u << first) - 1));
}
inline unsigned bits(mask16 m) { return m; }  // bit n for lane n
inline mask16 from_bits(unsigned b) { return static_cast<mask16>(b); }

}  // namespace inferloom
