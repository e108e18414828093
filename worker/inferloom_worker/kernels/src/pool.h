// A fixed team of threads that run one loop at a time.
//
// A decoder step is a few hundred short loops with a barrier after each, so waiting must cost far less than
// a system call: threads spin, then yield, and sleep only between steps. Iterations are handed out one
// by one from a counter, so that a thread which the system took off its core delays only the iteration it
// was in.
#pragma once

#include <immintrin.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace inferloom {

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads < 1 ? 1 : threads) {
    for (int i = 1; i < threads_; ++i) team_.emplace_back([this, i] { work(i); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closing_.store(true);
      awake_.store(true);
    }
    wake_.notify_all();
    for (auto& thread : team_) thread.join();
  }

  int threads() const { return threads_; }

  // Between begin and end the team spins for work; outside it sleeps.
  void begin() {
    if (threads_ == 1) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      awake_.store(true);
    }
    wake_.notify_all();
  }

  void end() { awake_.store(false); }

  // Calls body(index, thread) for every index in [0, count), and returns when all calls have returned.
  template <class Body>
  void loop(int count, Body&& body) {
    if (threads_ == 1 || count == 1) {
      for (int i = 0; i < count; ++i) body(i, 0);
      return;
    }
    body_ = [&body](int index, int thread) { body(index, thread); };
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(threads_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    drain(0);
    for (unsigned spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) pause(spins);
  }

 private:
  static void pause(unsigned spins) {
    if (spins < 2000) {
      _mm_pause();
    } else {
      sched_yield();
    }
  }

  void drain(int thread) {
    for (int i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) body_(i, thread);
  }

  void work(int thread) {
    unsigned seen = 0;
    for (;;) {
      for (unsigned spins = 0; generation_.load(std::memory_order_acquire) == seen; ++spins) {
        if (closing_.load()) return;
        if (!awake_.load(std::memory_order_relaxed)) {
          std::unique_lock<std::mutex> lock(mutex_);
          wake_.wait(lock, [this] { return awake_.load(); });
        }
        pause(spins);
      }
      ++seen;
      drain(thread);
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int threads_;
  std::vector<std::thread> team_;
  std::function<void(int, int)> body_;
  int count_ = 0;
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> busy_{0};
  alignas(64) std::atomic<unsigned> generation_{0};
  alignas(64) std::atomic<bool> awake_{false};
  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace inferloom
