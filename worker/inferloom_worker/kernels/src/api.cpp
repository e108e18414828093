// The C face of the kernels, for ctypes. Nothing gets past it unchecked, and no exception does: a function that fails
// returns a Failure or a null pointer, and il_error has the reason.
#include <system_error>

#include "abi.h"
#include "check.h"
#include "decoder.h"
#include "encoder.h"

using namespace inferloom;

namespace {

enum Failure : int { kDone = 0, kNoMemory = 1, kRefused = 2, kBroken = 3 };

thread_local std::string error;
thread_local Failure failure = kDone;

int failed(Failure how, const char* why) {
  error = why;
  return failure = how;
}

// Runs body, and says how it ended.
template <class Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return kDone;
  } catch (const std::bad_alloc&) {
    return failed(kNoMemory, "there is not enough memory");
  } catch (const std::length_error&) {
    return failed(kNoMemory, "there is not enough memory");
  } catch (const std::invalid_argument& refused) {
    return failed(kRefused, refused.what());
  } catch (const std::system_error& refused) {
    return failed(kRefused, refused.what());  // the system gives no more threads
  } catch (const std::exception& broken) {
    return failed(kBroken, broken.what());
  } catch (...) {
    return failed(kBroken, "unknown");
  }
}

// The same for what returns a pointer.
template <class T, class Body>
T* made(Body&& body) noexcept {
  T* result = nullptr;
  guarded([&] { result = body(); });
  return result;
}

template <class List>
auto nth(const List& list, int which) {
  require_between(which, 0, (long long)list.size(), "a weight's place in its layer");
  return list[which];
}

template <class Layers>
auto& layer_of(Layers& layers, int layer) {
  require_between(layer, 0, (long long)layers.size(), "a layer");
  return layers[layer];
}

void require_rows(const Matrix* m, bool of_kind, int first, int count) {
  require(m != nullptr && m->data != nullptr && of_kind, "the matrix is not of this kind");
  require(first >= 0 && count >= 0 && first <= m->rows - count, "rows outside of the matrix");
}

void require_logits(int rows, int stride, int width) {
  require(rows >= 0 && width > 0 && stride >= width, "logits of no such size");
}

}  // namespace

extern "C" {

const char* il_abi() {
  static const AbiDescription description;
  return description.text().c_str();
}

#ifndef IL_BUILT_FROM
#define IL_BUILT_FROM ""
#endif

// What stands for the sources and flags that this was compiled from, by build.py; empty where it did not do it.
const char* il_built_from() { return IL_BUILT_FROM; }

// Why the last function that failed on this thread did.
const char* il_error() { return error.c_str(); }

// The Failure that it was.
int il_failure() { return failure; }

// layers is [shape->layers].
Decoder* il_create(const Shape* shape, const LayerShape* layers, const Rope* ropes, int rope_count, int threads) {
  return made<Decoder>([&] {
    check_shape(*shape, layers, ropes, rope_count);
    return new Decoder(*shape, layers, ropes, rope_count, threads);
  });
}

void il_destroy(Decoder* d) { delete d; }

int il_allocate(Decoder* d, int blocks) {
  return guarded([&] { d->allocate(blocks); });
}

// Layer -1 holds the norm after the last layer.
int il_set_vector(Decoder* d, int layer, int which, const float* values, int count) {
  return guarded([&] {
    require(count >= 0, "a vector of no such size");
    (layer < 0 ? &d->norm : nth(layer_of(d->layers, layer).vectors(), which))->assign(values, values + count);
  });
}

// Whether the products of this library compute matrices of the kind.
int il_holds(int kind) { return kind >= kQ4 && kind <= kQ12 && (kind != kQ12 || kHoldsQ12); }

// Layer -1 holds the embedding and the head.
Matrix* il_decoder_matrix(Decoder* d, int layer, int which) {
  return made<Matrix>([&] {
    if (layer >= 0) return nth(layer_of(d->layers, layer).matrices(), which);
    require_between(which, 0, 2, "a matrix of the vocabulary");
    return which == 0 ? &d->embedding : &d->head;
  });
}

Matrix* il_encoder_matrix(Encoder* e, int layer, int which) {
  return made<Matrix>([&] { return nth(layer_of(e->layers, layer).matrices(), which); });
}

// Makes an empty matrix; il_fill_groups writes its rows, or il_fill_bf16 or il_fill_q12 for these two kinds.
int il_make_matrix(Matrix* m, int kind, int rows, int cols) {
  return guarded([&] {
    require(m != nullptr && il_holds(kind), "a matrix of a kind that is not computed");
    require_between(rows, 1, kMostWidth, "a matrix's rows"), require_between(cols, 1, kMostWidth, "its columns");
    require(rows % kTile == 0 && cols % kGroup == 0, "a matrix that is not in whole tiles and groups");
    m->allocate(static_cast<Kind>(kind), rows, cols);
  });
}

// Writes rows first … first + count - 1. q is [count, cols]; scales is [count, groups] (kQ8F: [count, 2 ·
// groups]); offsets is [count, groups], and ignored by the 8-bit kinds.
int il_fill_groups(Matrix* m, int first, int count, const int8_t* q, const float* scales, const float* offsets) {
  return guarded([&] {
    require_rows(m, m->kind != kQ12 && m->kind != kBF16, first, count);
    const int groups = m->groups(), scales_per_group = m->kind == kQ8F ? 2 : 1;
    for (int r = 0; r < count; ++r)
      for (int g = 0; g < groups; ++g) {
        const size_t at = size_t(r) * groups + g;
        put_group(*m, first + r, g, q + at * kGroup, scales + at * scales_per_group, offsets ? offsets[at] : 0.0f);
      }
  });
}

// The same for kQ12; scales is [count, groups].
int il_fill_q12(Matrix* m, int first, int count, const int16_t* q, const float* scales) {
  return guarded([&] {
    require_rows(m, m->kind == kQ12, first, count);
    const int groups = m->groups();
    for (int r = 0; r < count; ++r)
      for (int g = 0; g < groups; ++g) {
        const size_t at = size_t(r) * groups + g;
        put_group(*m, first + r, g, q + at * kGroup, scales + at, 0.0f);
      }
  });
}

// The same for bfloat16; values is [count, cols].
int il_fill_bf16(Matrix* m, int first, int count, const uint16_t* values) {
  return guarded([&] {
    require_rows(m, m->kind == kBF16, first, count);
    for (int r = 0; r < count; ++r) put_bf16(*m, first + r, values + size_t(r) * m->cols);
  });
}

// An adapter without changes.
Adapter* il_adapter_create(Decoder* d) {
  return made<Adapter>([&] { return new Adapter(d->shape.layers, d->widths()); });
}

void il_adapter_destroy(Adapter* a) { delete a; }

// Sets the first matrix of a change, values [rank, inputs].
int il_adapter_change(Adapter* a, int layer, int projection, int rank, int inputs, const float* values) {
  return guarded([&] {
    require_between(projection, 0, kProjections, "a projection");
    require_between(rank, 1, kMostWidth, "a change's rank");
    require_size(inputs, a->widths[projection].inputs, "a change's input");
    Change& change = layer_of(a->layers, layer)[projection];
    change.a.assign(values, values + size_t(rank) * inputs);
    change.parts.clear();
    change.rank = rank, change.inputs = inputs;
  });
}

// Adds a part to it, values [outputs / 16, rank, 16].
int il_adapter_part(Adapter* a, int layer, int projection, int first, int outputs, int low, int rank,
                    const float* values) {
  return guarded([&] {
    require_between(projection, 0, kProjections, "a projection");
    Change& change = layer_of(a->layers, layer)[projection];
    require(first >= 0 && outputs > 0 && first % kTile == 0 && outputs % kTile == 0 &&
                (long long)first + outputs <= a->widths[projection].outputs,
            "a part that is not in whole tiles of the projection");
    require(low >= 0 && rank > 0 && (long long)low + rank <= change.rank, "a part of a change of another rank");
    change.parts.push_back({first, outputs, low, rank, std::vector<float>(values, values + size_t(outputs) * rank)});
  });
}

// Writes logits [samples, vocab].
int il_forward(Decoder* d, const Step* step, float* logits) {
  return guarded([&] {
    d->check(*step);
    d->forward(*step, logits);
  });
}

// Writes the states of the sampled rows after the last norm [samples, hidden].
int il_hidden(Decoder* d, const Step* step, float* states) {
  return guarded([&] {
    d->check(*step);
    d->hidden(*step, states);
  });
}

// The place of each row's largest logit that is allowed; -1 where none is finite. A row's mask is null where every
// token is allowed, and so is the list of masks.
int il_argmax(Decoder* d, const float* logits, int rows, int stride, int width, const uint32_t* const* masks,
              int32_t* places) {
  return guarded([&] {
    require_logits(rows, stride, width);
    d->argmax(logits, rows, stride, width, masks, places);
  });
}

// The token that is drawn for each row; -1 where no logit is finite. Masks as above.
int il_draw(Decoder* d, const float* logits, int rows, int stride, int width, const uint32_t* const* masks,
            const Filter* filters, int32_t* tokens) {
  return guarded([&] {
    require_logits(rows, stride, width);
    d->draw(logits, rows, stride, width, masks, filters, tokens);
  });
}

long long il_weight_bytes(Decoder* d) {
  long long total = 0;
  const auto add = [&](const Matrix& m) { total += m.data ? (long long)m.bytes() : 0; };
  for (auto& w : d->layers)
    for (const Matrix* m : w.matrices()) add(*m);
  add(d->embedding), add(d->head);
  return total;
}

Encoder* il_encoder_create(const EncoderShape* shape, int threads) {
  return made<Encoder>([&] {
    check_shape(*shape);
    return new Encoder(*shape, threads);
  });
}

void il_encoder_destroy(Encoder* e) { delete e; }

// Layer -1 holds the embeddings and the norm after them.
int il_encoder_vector(Encoder* e, int layer, int which, const float* values, long long count) {
  return guarded([&] {
    require(count >= 0, "a vector of no such size");
    (layer < 0 ? nth(e->outer(), which) : nth(layer_of(e->layers, layer).vectors(), which))
        ->assign(values, values + count);
  });
}

// segments may be null.
int il_encoder_forward(Encoder* e, int texts, const int32_t* tokens, const int32_t* segments, const int32_t* counts,
                       float* out) {
  return guarded([&] {
    e->check(texts, tokens, segments, counts);
    e->forward(texts, tokens, segments, counts, out);
  });
}

}  // extern "C"
