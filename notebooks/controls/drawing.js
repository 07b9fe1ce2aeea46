// A canvas to draw on, white ink on black, with a button to clear it. Its gray values travel as `value`: one byte a
// pixel, row by row. All views of one pad share the model, so each draws what another one sets.

const SIZE = 280;
const PAUSE = 66; // milliseconds between two messages to the kernel while a line is drawn

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "canvas: draw a digit here with the mouse, a pen or a finger");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Clear";
  button.setAttribute("aria-label", "clear the canvas");
  button.className = "jupyter-button widget-button";
  el.classList.add("drawing-pad");
  el.append(canvas, button);

  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = "white";
  let pointer = null; // the one that draws: a second finger is ignored
  let last = null; // where the line has come to
  let sent = null; // what this view told the model itself
  let timer = null;

  function place(event) {
    const box = canvas.getBoundingClientRect(); // the page may show the canvas smaller than it is
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
  }

  function drawTo(point) {
    context.lineWidth = model.get("pen");
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...point);
    context.stroke();
    last = point;
  }

  function drawDot(point) {
    context.beginPath();
    context.arc(...point, model.get("pen") / 2, 0, 2 * Math.PI);
    context.fill();
    last = point;
  }

  function send() {
    clearTimeout(timer);
    timer = null;
    const { data } = context.getImageData(0, 0, SIZE, SIZE); // red, green, blue, alpha for each pixel
    sent = new DataView(new ArrayBuffer(SIZE * SIZE));
    for (let k = 0; k < SIZE * SIZE; k++) sent.setUint8(k, data[4 * k]);
    model.set("value", sent);
    model.save_changes();
  }

  function show() {
    const value = model.get("value");
    if (value === sent) return; // it comes from this canvas
    const image = context.createImageData(SIZE, SIZE);
    for (let k = 0; k < SIZE * SIZE; k++) {
      image.data.fill(value.getUint8(k), 4 * k, 4 * k + 3);
      image.data[4 * k + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault(); // no text is selected, and JupyterLab does not scroll to the cell
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer); // the line goes on when the pointer leaves the canvas and comes back
    drawDot(place(event));
    timer ??= setTimeout(send, PAUSE);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? []; // all places since the last frame: a smooth line
    for (const one of events.length ? events : [event]) drawTo(place(one));
    timer ??= setTimeout(send, PAUSE);
  });
  function end(event) {
    if (event.pointerId !== pointer) return;
    pointer = null;
    send();
  }
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  button.addEventListener("click", () => {
    context.fillStyle = "black";
    context.fillRect(0, 0, SIZE, SIZE);
    context.fillStyle = "white";
    send();
  });

  model.on("change:value", show);
  show();
  return () => {
    clearTimeout(timer);
    model.off("change:value", show);
  };
}

export default { render };
