import type { RunView } from "../../api/contract.js";
import type { Output } from "../outside.js";
import { answerLines, type Page } from "../render/gate.js";
import { detailLines, headLine, pausedLines } from "../render/run.js";
import { stageRows, stageWindow } from "../render/stages.js";
import { fit, plural, safeLine } from "../render/text.js";

/** However much else there is to say, so many lines of stages stay. */
const LEAST_STAGE_LINES = 5;

/** Terminals that know these show a drawing only when it is whole; the others ignore them. */
const BEGIN_DRAWING = "\x1b[?2026h";
const END_DRAWING = "\x1b[?2026l";
const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";

/** A run as one screen of at most `rows` lines. `lost`: why nothing new comes, or null. */
export function screenLines(view: RunView, page: Page & { readonly rows: number }, lost: string | null): string[] {
  const { style } = page;
  const head = [headLine(view, page), ""];
  const foot = lost === null ? [] : ["", style.warn(`${lost}; trying again. The run goes on without us.`)];
  const body = [...detailLines(view, page), ...pausedLines(view, page)];
  const room = page.rows - head.length - foot.length;
  const stages = stageWindow(stageRows(view.stages, page), Math.max(LEAST_STAGE_LINES, room - body.length), style);
  const ending = view.gate === null ? 0 : answerLines(view.gate).length;
  return [...head, ...stages, ...shorten(body, room - stages.length, ending, page), ...foot];
}

/** Leaves out the middle: the beginning says what it is about, the end how to answer. */
function shorten(lines: readonly string[], room: number, ending: number, { style }: Page): readonly string[] {
  if (lines.length <= room) return lines;
  const tail = Math.min(ending, Math.max(0, room - 1));
  const head = Math.max(0, room - 1 - tail);
  return [
    ...lines.slice(0, head),
    style.dim(`… ${plural(lines.length - head - tail, "line")} more: belay gate show, belay run show`),
    ...lines.slice(lines.length - tail),
  ];
}

/** Draws lines over the ones it drew before, in one write, so that nothing flickers. */
export class Screen {
  readonly #out: Output;
  #height = 0;
  #shown = "";

  constructor(out: Output) {
    this.#out = out;
  }

  draw(lines: readonly string[]): void {
    const text = lines.map((line) => `${fit(safeLine(line), this.#out.columns)}\x1b[K`).join("\r\n");
    if (text === this.#shown) return;
    const up = this.#height > 1 ? `\x1b[${this.#height - 1}A` : "";
    this.#out.write(`${BEGIN_DRAWING}${HIDE_CURSOR}\r${up}${text}\x1b[J${END_DRAWING}`);
    this.#height = lines.length;
    this.#shown = text;
  }

  /** After the window changed its size nobody knows where the lines went: starts on an empty one. */
  clear(): void {
    this.#out.write("\x1b[2J\x1b[H");
    this.#height = 0;
    this.#shown = "";
  }

  /** Takes away what was drawn last. Idempotent. */
  erase(): void {
    if (this.#height > 0) {
      const up = this.#height > 1 ? `\x1b[${this.#height - 1}A` : "";
      this.#out.write(`\r${up}\x1b[J${SHOW_CURSOR}`);
    }
    this.#height = 0;
    this.#shown = "";
  }

  /** Leaves what was drawn last where it is and goes on below it. Idempotent. */
  leave(): void {
    if (this.#height > 0) this.#out.write(`\r\n${SHOW_CURSOR}`);
    this.#height = 0;
    this.#shown = "";
  }
}
