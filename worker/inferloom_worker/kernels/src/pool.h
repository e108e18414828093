// A fixed team of threads that run one loop at a time.
//
// A decoder step is a few hundred short loops, so joining and waiting must cost far less than a system call:
// threads spin for about as long as an iteration takes. Iterations are handed out one by one, and a loop ends
// when its iterations have ended, not when every thread has seen it: a thread that the system took off its core
// delays only the iteration it was in. Who has spun in vain sleeps, which frees a core for that very thread;
// spinning on would keep it away. What an iteration throws reaches the caller of the loop, once all have ended.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "waiting.h"

namespace inferloom {

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads < 1 ? 1 : threads) {
    try {
      team_.reserve(threads_);
      for (int i = 1; i < threads_; ++i) team_.emplace_back([this, i] { work(i); });
    } catch (...) {
      close();  // a thread that nobody joins would end the process
      throw;
    }
  }

  ~Pool() { close(); }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }

  // Calls body(index, thread) for every index in [0, count), and returns when all calls have returned.
  template <class Body>
  void loop(int count, Body&& body) {
    if (threads_ == 1 || count == 1) {
      for (int i = 0; i < count; ++i) body(i, 0);
      return;
    }
    // Whoever draws a ticket of this loop holds up its end, so the body outlives every use.
    body_ = [](const void* b, int index, int thread) { (*static_cast<const std::decay_t<Body>*>(b))(index, thread); };
    context_ = &body;
    done_.store(0);
    ticket_.store(uint64_t(count) << 32);
    // A sleeper counts itself before it looks at the ticket for the last time: one of the two sees the other.
    if (sleepers_.load() > 0) {
      signal_.fetch_add(1);
      waiters_.wake(signal_);
    }
    drain(0);
    for (int spins = 0; done_.load() != uint32_t(count);) {
      if (++spins < kSpins) {
        relax();
        continue;
      }
      waiting_.store(true);
      const uint32_t seen = done_.load();
      if (seen != uint32_t(count)) waiters_.sleep(done_, seen);
      waiting_.store(false);
    }
    if (failed_.load()) {
      const std::exception_ptr failure = std::exchange(failure_, nullptr);
      failed_.store(false);
      std::rethrow_exception(failure);
    }
  }

  // Calls body(begin, end) over chunks of [0, count), about `per_thread` for each thread, whole multiples of `unit`.
  template <class Body>
  void chunks(int count, int unit, int per_thread, Body&& body) {
    const int wanted = std::max(1, count / (threads_ * per_thread));
    const int size = (wanted + unit - 1) / unit * unit;
    loop((count + size - 1) / size, [&](int c, int) { body(c * size, std::min(count, (c + 1) * size)); });
  }

  // Calls body(row) for every row.
  template <class Body>
  void rows(int count, Body&& body) {
    chunks(count, 1, 4, [&](int begin, int end) {
      for (int r = begin; r < end; ++r) body(r);
    });
  }

 private:
  static constexpr int kSpins = 3000;  // some tens of microseconds

  void close() {
    closing_.store(true);
    signal_.fetch_add(1);
    waiters_.wake(signal_);
    for (auto& thread : team_) thread.join();
  }

  bool has_work() const {
    const uint64_t ticket = ticket_.load();
    return uint32_t(ticket) < ticket >> 32;
  }

  // Runs iterations of the present loop until none is left; whether there was any.
  bool drain(int thread) {
    for (bool any = false;; any = true) {
      if (!has_work()) return any;
      const uint64_t mine = ticket_.fetch_add(1);
      if (uint32_t(mine) >= mine >> 32) return any;
      try {
        body_(context_, int(uint32_t(mine)), thread);
      } catch (...) {
        // Only the first is kept; it is read when every iteration has ended.
        if (!failed_.exchange(true)) failure_ = std::current_exception();
      }
      done_.fetch_add(1);
      if (waiting_.load()) waiters_.wake(done_);
    }
  }

  void work(int thread) {
    for (int spins = 0; !closing_.load(); ++spins) {
      if (drain(thread)) spins = 0;
      if (spins < kSpins) {
        relax();
        continue;
      }
      sleepers_.fetch_add(1);
      const uint32_t seen = signal_.load();
      if (!has_work() && !closing_.load()) waiters_.sleep(signal_, seen);
      sleepers_.fetch_sub(1);
      spins = 0;
    }
  }

  const int threads_;
  std::vector<std::thread> team_;
  void (*body_)(const void*, int, int) = nullptr;
  const void* context_ = nullptr;
  alignas(64) std::atomic<uint64_t> ticket_{0};  // iterations in the upper half, the next one in the lower
  alignas(64) std::atomic<uint32_t> done_{0};
  std::atomic<bool> waiting_{false};
  alignas(64) std::atomic<uint32_t> signal_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> closing_{false};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
  Waiters waiters_;
};

}  // namespace inferloom
