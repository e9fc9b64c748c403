/** How long the second click is waited for, ms. */
const patience = 4000;

/** Makes a button ask first: it shows `question`, and only a second click does it. */
export function twoStep(button: HTMLButtonElement, question: () => string, act: () => void): void {
  let usual: Node[] | undefined;
  let timer = 0;
  const calm = () => {
    clearTimeout(timer);
    if (usual === undefined) return;
    button.replaceChildren(...usual);
    button.classList.remove("asking");
    usual = undefined;
  };
  button.addEventListener("click", () => {
    if (usual !== undefined) {
      calm();
      act();
      return;
    }
    usual = [...button.childNodes];
    button.replaceChildren(question());
    button.classList.add("asking");
    timer = setTimeout(calm, patience);
  });
  button.addEventListener("blur", calm);
}
