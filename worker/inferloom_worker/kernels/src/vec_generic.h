// Sixteen float32 lanes in four vectors of the compiler's own, for any processor. The same names as in vec256.h. What
// these have no word for is said in NEON's where it is there.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __aarch64__
#include <arm_neon.h>
#endif

// Inlined everywhere, so how such values would be passed does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace inferloom {

constexpr int kLive = 6;  // sums that a loop can hold in registers

using f32x4 = float __attribute__((vector_size(16)));
using i32x4 = int32_t __attribute__((vector_size(16)));
using u32x4 = uint32_t __attribute__((vector_size(16)));

struct f32x16 {
  f32x4 part[4];
};
// A lane that is set has all its bits.
struct mask16 {
  i32x4 part[4];
};
struct i32x16 {
  i32x4 part[4];
};

template <class To, class From>
inline To bits_of(From x) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

// A value whose every part is f(n), n = 0 … 3.
template <class Whole, class F>
inline Whole parts(F&& f) {
  return {{f(0), f(1), f(2), f(3)}};
}

inline f32x4 each(float x) { return f32x4{x, x, x, x}; }
inline i32x4 each(int32_t x) { return i32x4{x, x, x, x}; }
inline f32x4 pick(i32x4 m, f32x4 yes, f32x4 no) {
  return bits_of<f32x4>((m & bits_of<i32x4>(yes)) | (~m & bits_of<i32x4>(no)));
}

#ifdef __aarch64__
inline f32x4 fma4(f32x4 x, f32x4 y, f32x4 z) { return vfmaq_f32(z, x, y); }
inline f32x4 nearest4(f32x4 x) { return vrndnq_f32(x); }
inline float f16_to_f32(uint16_t h) { return float(bits_of<__fp16>(h)); }
inline uint16_t f32_to_f16(float f) { return bits_of<uint16_t>(__fp16(f)); }
inline f32x4 load_f16_4(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
#else
inline f32x4 fma4(f32x4 x, f32x4 y, f32x4 z) {
#ifdef __FP_FAST_FMAF
  f32x4 out;
  for (int i = 0; i < 4; ++i) out[i] = __builtin_fmaf(x[i], y[i], z[i]);
  return out;
#else
  return x * y + z;
#endif
}
// Ties to even, below 2^22: beside such a number a float has no room for fractions.
inline f32x4 nearest4(f32x4 x) {
  const f32x4 large = each(12582912.0f);
  return (x + large) - large;
}
// The exponent is moved by a multiplication, which also makes numbers of the subnormal ones; what was infinite or no
// number stays so.
inline f32x4 wide4(u32x4 h) {
  const u32x4 size = (h & 0x7fffu) << 13;
  const f32x4 number = bits_of<f32x4>(size) * each(0x1p112f);
  const u32x4 strange = bits_of<u32x4>(size >= (0x7c00u << 13)) & 0x7f800000u;
  return bits_of<f32x4>(bits_of<u32x4>(number) | strange | (h & 0x8000u) << 16);
}
inline f32x4 load_f16_4(const uint16_t* p) { return wide4(u32x4{p[0], p[1], p[2], p[3]}); }
inline float f16_to_f32(uint16_t h) { return wide4(u32x4{h, h, h, h})[0]; }
// Ties to even. A subnormal's bits are what a sum with 2^-1 leaves in the last places.
inline uint16_t f32_to_f16(float f) {
  uint32_t bits = bits_of<uint32_t>(f);
  const uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return uint16_t(sign | 0x7e00u | (bits >> 13 & 0x1ffu));
  if (bits >= 0x477ff000u) return uint16_t(sign | 0x7c00u);
  if (bits < 0x38800000u) {
    const float shifted = bits_of<float>(bits) + 0.5f;
    return uint16_t(sign | (bits_of<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t odd = bits >> 13 & 1u;
  return uint16_t(sign | (bits - (112u << 23) + 0xfffu + odd) >> 13);
}
#endif

inline f32x16 set1(float x) { return {{each(x), each(x), each(x), each(x)}}; }
inline f32x16 load(const float* p) {
  f32x16 x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, f32x16 x) { std::memcpy(p, &x, sizeof x); }
inline f32x16 load_f16(const uint16_t* p) {
  return parts<f32x16>([&](int n) { return load_f16_4(p + 4 * n); });
}
inline void store_f16(uint16_t* p, f32x16 x) {
  for (int i = 0; i < 16; ++i) p[i] = f32_to_f16(x.part[i / 4][i % 4]);
}
// Lane n of `pairs` holds the bfloat16 inputs 2n and 2n + 1.
inline void load_bf16_pairs(const uint8_t* pairs, f32x16& even, f32x16& odd) {
  for (int n = 0; n < 4; ++n) {
    u32x4 both;
    std::memcpy(&both, pairs + 16 * n, sizeof both);
    even.part[n] = bits_of<f32x4>(both << 16);
    odd.part[n] = bits_of<f32x4>(both & 0xffff0000u);
  }
}

inline f32x16 operator+(f32x16 x, f32x16 y) {
  return parts<f32x16>([&](int n) { return x.part[n] + y.part[n]; });
}
inline f32x16 operator-(f32x16 x, f32x16 y) {
  return parts<f32x16>([&](int n) { return x.part[n] - y.part[n]; });
}
inline f32x16 operator*(f32x16 x, f32x16 y) {
  return parts<f32x16>([&](int n) { return x.part[n] * y.part[n]; });
}
inline f32x16 operator/(f32x16 x, f32x16 y) {
  return parts<f32x16>([&](int n) { return x.part[n] / y.part[n]; });
}
inline f32x16 fma(f32x16 x, f32x16 y, f32x16 z) {  // x·y + z
  return parts<f32x16>([&](int n) { return fma4(x.part[n], y.part[n], z.part[n]); });
}
inline f32x16 fnma(f32x16 x, f32x16 y, f32x16 z) {  // z - x·y
  return parts<f32x16>([&](int n) { return fma4(-x.part[n], y.part[n], z.part[n]); });
}
inline f32x16 max(f32x16 x, f32x16 y) {
  return parts<f32x16>([&](int n) { return pick(x.part[n] > y.part[n], x.part[n], y.part[n]); });
}
inline f32x16 min(f32x16 x, f32x16 y) {
  return parts<f32x16>([&](int n) { return pick(x.part[n] < y.part[n], x.part[n], y.part[n]); });
}
inline f32x16 abs(f32x16 x) {
  return parts<f32x16>([&](int n) { return bits_of<f32x4>(bits_of<u32x4>(x.part[n]) & 0x7fffffffu); });
}
inline f32x16 nearest(f32x16 x) {
  return parts<f32x16>([&](int n) { return nearest4(x.part[n]); });
}
// Of whole numbers.
inline i32x16 to_int(f32x16 x) {
  return parts<i32x16>([&](int n) { return __builtin_convertvector(x.part[n], i32x4); });
}
inline f32x16 to_float(i32x16 x) {
  return parts<f32x16>([&](int n) { return __builtin_convertvector(x.part[n], f32x4); });
}
// x · 2^n for whole n; exact where neither n nor the result leaves the normal range.
inline f32x16 times_power_of_2(f32x16 x, f32x16 n) {
  const i32x16 whole = to_int(n);
  return x * parts<f32x16>([&](int i) { return bits_of<f32x4>((whole.part[i] + 127) << 23); });
}
// In the order in which vec256.h adds.
inline float reduce_add(f32x16 x) {
  const f32x4 four = (x.part[0] + x.part[2]) + (x.part[1] + x.part[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
inline float reduce_max(f32x16 x) {
  float most = x.part[0][0];
  for (int i = 1; i < 16; ++i) most = x.part[i / 4][i % 4] > most ? x.part[i / 4][i % 4] : most;
  return most;
}

inline mask16 less(f32x16 x, f32x16 y) {
  return parts<mask16>([&](int n) { return x.part[n] < y.part[n]; });
}
inline mask16 equal(f32x16 x, f32x16 y) {
  return parts<mask16>([&](int n) { return x.part[n] == y.part[n]; });
}
inline f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
  return parts<f32x16>([&](int n) { return pick(m.part[n], yes.part[n], no.part[n]); });
}
// Lanes first … limit - 1; either may lie outside.
inline mask16 lanes(int first, int limit) {
  return parts<mask16>([&](int n) {
    const i32x4 lane = i32x4{0, 1, 2, 3} + 4 * n;
    return (lane >= each(first)) & (lane < each(limit));
  });
}
inline unsigned bits(mask16 m) {  // bit n for lane n
  unsigned found = 0;
  for (int i = 0; i < 16; ++i) found |= unsigned(m.part[i / 4][i % 4] & 1) << i;
  return found;
}
inline mask16 from_bits(unsigned b) {
  return parts<mask16>([&](int n) {
    const i32x4 bit = i32x4{1, 2, 4, 8} << (4 * n);
    return (each(int32_t(b)) & bit) == bit;
  });
}
inline f32x16 load_first(const float* p, int count) {
  float held[16] = {};
  std::memcpy(held, p, sizeof(float) * (count < 0 ? 0 : count > 16 ? 16 : count));
  return load(held);
}

}  // namespace inferloom
