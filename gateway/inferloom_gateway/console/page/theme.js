// Runs before the first paint, so that nothing flashes. Also what the switch of the theme calls.
(() => {
  const KEY = "inferloom-theme";
  const NAMES = ["system", "light", "dark"];

  const chosen = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return NAMES.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage may be forbidden
    }
  };

  const show = (name) => {
    document.documentElement.dataset.theme = name;
  };

  window.inferloomTheme = {
    chosen,
    next() {
      const name = NAMES[(NAMES.indexOf(chosen()) + 1) % NAMES.length];
      try {
        localStorage.setItem(KEY, name);
      } catch {
        // it holds for this page
      }
      show(name);
      return name;
    },
  };
  show(chosen());
})();
