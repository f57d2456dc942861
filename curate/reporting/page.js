"use strict";
{
  const FEW = { kept: 8, dropped: 4 };
  const gallery = document.querySelector(".gallery");
  const groups = [...gallery.children];
  const cards = [...gallery.querySelectorAll(".card")];
  const texts = cards.map((card) => card.textContent.toLowerCase());
  const reason = document.querySelector("#by-reason");
  const task = document.querySelector("#by-task");
  const words = document.querySelector("#by-text");
  const count = document.querySelector(".tools output");

  const filter = () => {
    const wanted = words.value.trim().toLowerCase();
    const narrow = matchMedia("(max-width: 640px)").matches;
    let found = 0;
    const fits = cards.map(
      (card, index) =>
        (!reason.value || card.dataset.reason === reason.value) &&
        (!task || !task.value || card.dataset.task === task.value) &&
        (!wanted || texts[index].includes(wanted))
    );
    for (const group of groups) {
      const mine = cards.filter((card, index) => group.contains(card) && fits[index]);
      const few = FEW[mine[0]?.dataset.reason === "kept" ? "kept" : "dropped"] / (narrow ? 2 : 1);
      const most = reason.value || wanted || group.dataset.open ? mine.length : few;
      group.hidden = !mine.length;
      for (const card of group.querySelectorAll(".card")) card.hidden = mine.indexOf(card) >>> 0 >= most;
      const more = group.querySelector("button");
      more.hidden = mine.length <= most;
      more.textContent = `Show all ${mine.length}`;
      found += mine.length;
    }
    count.textContent = `${found} of ${cards.length} samples`;
  };
  gallery.addEventListener("click", (event) => {
    const more = event.target.closest(".group > button");
    if (!more) return;
    more.parentElement.dataset.open = "yes";
    filter();
  });
  for (const tool of [reason, task, words]) tool?.addEventListener("input", filter);
  filter();

  // A reason in the funnel leads to its samples.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.reason");
    if (!link) return;
    reason.value = link.dataset.reason;
    words.value = "";
    if (task) task.value = "";
    filter();
  });

  // What a box says, under its image: by the mouse, and by a tap.
  const say = (event) => {
    const box = event.target.closest("polygon");
    if (!box) return;
    const holder = box.closest(".shown");
    holder.querySelector(".hot")?.classList.remove("hot");
    box.classList.add("hot");
    holder.querySelector(".said").textContent = box.querySelector("title").textContent;
  };
  document.addEventListener("pointerover", say);

  // An image in full.
  const dialog = document.querySelector("dialog");
  gallery.addEventListener("click", (event) => {
    const shown = event.target.closest(".shown");
    const image = shown?.querySelector(".shot img");
    if (!image || !event.target.closest(".shot")) return;
    dialog.style.setProperty("--ratio", image.width / image.height || 1);
    dialog.replaceChildren(shown.cloneNode(true));
    dialog.showModal();
  });
  dialog.addEventListener("click", () => dialog.close());
}
