// The kernels' parts without Python: products of every kind of weights, attention, conversions and the team of threads,
// against plain arithmetic in double. It is compiled for processors that the other tests cannot run on, and run there
// by an emulator. Prints a line for each part, and ends with 1 if one is wrong.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "attention.h"
#include "pool.h"
#include "product.h"

using namespace inferloom;

namespace {

std::mt19937 generator(1);
int wrong = 0;

float uniform(float low, float high) { return low + (high - low) * float(generator() % 65536) / 65536.0f; }

void report(const char* what, bool good, double worst) {
  std::printf("%s %s %.3g\n", good ? "ok" : "WRONG", what, worst);
  wrong += !good;
}

// Every float16 there is, and back; and numbers between two of them.
void conversions() {
  double worst = 0;
  int strange = 0;
  for (uint32_t h = 0; h < 65536; ++h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double sign = h >> 15 ? -1 : 1;
    const float f = f16_to_f32(uint16_t(h));
    float lanes[16];
    const std::vector<uint16_t> many(16, uint16_t(h));
    store(lanes, load_f16(many.data()));
    if (exponent == 31) {
      strange += mantissa ? !std::isnan(f) || !std::isnan(lanes[5]) : f != sign * INFINITY || lanes[5] != f;
      continue;
    }
    const double expected = sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
    worst = std::max({worst, std::abs(f - expected), std::abs(lanes[3] - expected)});
    strange += f32_to_f16(f) != h;
    if (h >= 0x7bff || exponent == 0) continue;  // the next one below: halfway goes to the even one
    const float next = f16_to_f32(uint16_t(h + 1)), middle = (f + next) / 2;
    strange += f32_to_f16(middle) != h + (h & 1);
    strange += f32_to_f16(std::nextafter(middle, f)) != h || f32_to_f16(std::nextafter(middle, next)) != h + 1;
  }
  report("float16", worst == 0 && strange == 0, worst + strange);
}

void functions() {
  double worst = 0;
  for (int i = 0; i < 4000; ++i) {
    float x[16], y[16];
    for (float& value : x) value = uniform(-80, 80);
    store(y, exp16(load(x)));
    for (int n = 0; n < 16; ++n) worst = std::max(worst, std::abs(y[n] / std::exp(double(x[n])) - 1));
  }
  report("exp", worst < 1e-6, worst);
  bool good = true;
  for (int first = -2; first < 19; ++first)
    for (int limit = -2; limit < 19; ++limit) {
      unsigned expected = 0;
      for (int n = 0; n < 16; ++n) expected |= unsigned(n >= first && n < limit) << n;
      good = good && bits(lanes(first, limit)) == expected && bits(from_bits(expected)) == expected;
    }
  report("lanes", good, 0);
}

// A matrix of a kind, multiplied with as many rows as make every path run.
void products(Kind kind, const char* name) {
  constexpr int kRows = 48, kCols = 96, kMost = 13;
  Matrix m;
  m.allocate(kind, kRows, kCols);
  for (int row = 0; row < kRows; ++row) {
    if (kind == kBF16) {
      std::vector<uint16_t> values(kCols);
      for (auto& value : values) {
        const float x = uniform(-1, 1);
        uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        value = uint16_t(bits >> 16);
      }
      put_bf16(m, row, values.data());
      continue;
    }
    for (int g = 0; g < kCols / kGroup; ++g) {
      int q[kGroup];
      const bool narrow = kind == kQ4 || kind == kQ4F;
      const int most = narrow ? 15 : kind == kQ12 ? 2047 : 127;
      for (int& value : q) value = narrow ? int(generator() % 16) : int(generator() % (2 * most + 1)) - most;
      const float scale[2] = {uniform(0.001f, 0.01f), uniform(0.001f, 0.01f)};
      put_group(m, row, g, q, scale, uniform(-0.05f, 0.05f));
    }
  }
  std::vector<float> x(kMost * kCols), weights(kCols);
  for (float& value : x) value = uniform(-3, 3);
  const auto multiplied = [&](int first, int count) {
    Activations a;
    a.resize(count, kCols);
    for (int row = 0; row < count; ++row) a.put_row(kind, row, x.data() + (first + row) * kCols);
    std::vector<float> out(count * kRows);
    multiply(m, 0, m.tiles(), a, count,
             [&](int row, int tile, f32x16 y) { store(&out[row * kRows + tile * kTile], y); });
    return out;
  };
  const std::vector<float> all = multiplied(0, kMost);
  double worst = 0;
  for (int out = 0; out < kRows; ++out) {
    get_row(m, out, weights.data());
    for (int row = 0; row < kMost; ++row) {
      double sum = 0, size = 0;
      for (int c = 0; c < kCols; ++c) {
        sum += double(weights[c]) * x[row * kCols + c];
        size += std::abs(double(weights[c]) * x[row * kCols + c]);
      }
      worst = std::max(worst, std::abs(all[row * kRows + out] - sum) / size);
    }
  }
  bool same = true;  // a row alone, and among others
  for (int count : {1, 2, 3, 5})
    for (int first = 0; first + count <= kMost; ++first) {
      const std::vector<float> some = multiplied(first, count);
      same = same && std::memcmp(some.data(), &all[first * kRows], some.size() * sizeof(float)) == 0;
    }
  report(name, worst < 2e-5 && same, worst);
}

void attention() {
  constexpr int kDim = 64, kHeads = 2, kLength = 70, kBlocks = 7;
  std::vector<uint16_t> keys(kBlocks * kHeads * kDim * kBlock), values(keys.size());
  for (auto& value : keys) value = f32_to_f16(uniform(-1, 1));
  for (auto& value : values) value = f32_to_f16(uniform(-1, 1));
  const int32_t blocks[] = {4, 0, 6, 2, 1};
  const CacheLayer cache{keys.data(), values.data()};
  const int limits[] = {1, 15, 16, 17, 40, kLength};
  double worst = 0;
  for (int head = 0; head < kHeads; ++head) {
    std::vector<float> q(6 * kDim), out(6 * kDim), scores(6 * 80);
    for (float& value : q) value = uniform(-1, 1);
    Query queries[6];
    for (int n = 0; n < 6; ++n) queries[n] = {&q[n * kDim], &out[n * kDim], n == 5 ? 20 : 0, limits[n]};
    attend(6, queries, cache, blocks, head, kHeads, kDim, 0.0f, scores.data(), 80);
    for (int n = 0; n < 6; ++n) {
      const auto at = [&](int token) { return size_t(blocks[token / kBlock] * kHeads + head) * kDim * kBlock; };
      std::vector<double> weight(kLength), expected(kDim);
      double sum = 0;
      for (int t = queries[n].first; t < queries[n].limit; ++t) {
        double dot = 0;
        for (int d = 0; d < kDim; ++d)
          dot += double(q[n * kDim + d]) * f16_to_f32(keys[at(t) + d * kBlock + t % kBlock]);
        sum += weight[t] = std::exp(dot);
      }
      for (int t = queries[n].first; t < queries[n].limit; ++t)
        for (int d = 0; d < kDim; ++d)
          expected[d] += weight[t] / sum * f16_to_f32(values[at(t) + t % kBlock * kDim + d]);
      for (int d = 0; d < kDim; ++d) worst = std::max(worst, std::abs(expected[d] - out[n * kDim + d]));
    }
  }
  report("attention", worst < 1e-5, worst);
}

void team() {
  Pool pool(3);
  bool good = true;
  for (int count : {1, 2, 7, 1000, 3, 50}) {
    std::vector<std::atomic<int>> seen(count);
    pool.loop(count, [&](int index, int) { seen[index].fetch_add(1); });
    for (const auto& times : seen) good = good && times.load() == 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(count % 7));  // long enough for the others to sleep
  }
  report("threads", good, 0);
}

}  // namespace

int main() {
  conversions();
  functions();
  products(kQ4, "Q4"), products(kQ4F, "Q4F"), products(kQ8, "Q8"), products(kQ8F, "Q8F"), products(kBF16, "BF16");
  if (kHoldsQ12) products(kQ12, "Q12");
  attention();
  team();
  return wrong > 0;
}
