// One line about what has happened, also read out.

let timer;

export function say(text) {
  const place = document.getElementById("notice");
  const line = document.createElement("p");
  line.textContent = text;
  place.replaceChildren(line);
  clearTimeout(timer);
  timer = setTimeout(() => place.replaceChildren(), 6000);
}

/** What stands where something could not be shown. */
export function failed(error) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = error.message;
  return line;
}
