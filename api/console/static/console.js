// Says whether the board is fresh: the stream beats every two seconds, three seconds of silence grey the board.
(() => {
  const SILENCE = 3500;
  let heard = Date.now();
  const beat = () => { heard = Date.now(); show(); };
  const show = () => {
    const label = document.getElementById("link");
    const lost = Date.now() - heard > SILENCE;
    const words = lost ? `${label.dataset.lost} ${new Date(heard).toLocaleTimeString("sv")}` : label.dataset.live;
    if (label.textContent !== words) label.textContent = words;
    document.body.classList.toggle("stale", lost);
  };
  document.body.addEventListener("changed", beat);
  document.body.addEventListener("alive", beat);
  setInterval(show, 1000);
})();
