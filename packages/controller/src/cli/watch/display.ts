import type { BelayError } from "@belay/shared";
import type { RunView } from "../../api/contract.js";
import type { Page } from "../render/gate.js";
import { clock } from "../render/measure.js";
import type { Session } from "../session.js";
import { newLines } from "./diary.js";
import { Screen, screenLines } from "./screen.js";

/** Elapsed times move on even when nothing happens. */
const REDRAW_EVERY_MS = 1_000;

/** Where a followed run is shown. */
export interface Display {
  view(view: RunView): void;
  /** Nothing new comes for now. */
  lost(error: BelayError): void;
  /** Gives the screen up, so that something else can be printed; the next view takes it again. */
  pause(): void;
  /** Lets go of everything. Idempotent. */
  close(): void;
}

/** A live screen that is redrawn in place. */
export class LiveDisplay implements Display {
  readonly #session: Session;
  readonly #screen: Screen;
  readonly #unlisten: () => void;
  #timer: NodeJS.Timeout | null = null;
  #last: RunView | null = null;
  #lost: string | null = null;

  constructor(session: Session) {
    this.#session = session;
    this.#screen = new Screen(session.outside.out);
    this.#unlisten = session.outside.onResize(() => {
      if (this.#timer === null) return;
      this.#screen.clear();
      this.#draw();
    });
  }

  view(view: RunView): void {
    this.#last = view;
    this.#lost = null;
    this.#timer ??= setInterval(() => this.#draw(), REDRAW_EVERY_MS);
    this.#draw();
  }

  lost(error: BelayError): void {
    this.#lost = error.message;
    this.#draw();
  }

  pause(): void {
    this.#stopClock();
    this.#screen.erase();
  }

  close(): void {
    this.#stopClock();
    this.#screen.leave();
    this.#unlisten();
  }

  #stopClock(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #draw(): void {
    if (this.#last === null) return;
    const rows = this.#session.outside.out.rows - 1;
    this.#screen.draw(screenLines(this.#last, { ...pageOf(this.#session), rows }, this.#lost));
  }
}

/** Lines as things happen. */
export class LineDisplay implements Display {
  readonly #session: Session;
  #last: RunView | null = null;
  #isLost = false;

  constructor(session: Session) {
    this.#session = session;
  }

  view(view: RunView): void {
    const { now } = this.#session.outside;
    if (this.#isLost) this.#session.print([`${clock(now())} belayd is back`]);
    this.#isLost = false;
    this.#session.print(newLines(this.#last, view, pageOf(this.#session)));
    this.#last = view;
  }

  lost(error: BelayError): void {
    if (this.#isLost) return;
    this.#isLost = true;
    const { now } = this.#session.outside;
    this.#session.print([`${clock(now())} ${error.message}; trying again. The run goes on without us.`]);
  }

  pause(): void {}
  close(): void {}
}

/** `{"view": RunView}` or `{"lost": ErrorInfo}`, one a line. */
export class JsonDisplay implements Display {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  view(view: RunView): void {
    this.#session.printJsonLine({ view });
  }

  lost(error: BelayError): void {
    this.#session.printJsonLine({ lost: error.toJSON() });
  }

  pause(): void {}
  close(): void {}
}

export function pageOf({ outside, style }: Session): Page {
  return { now: outside.now(), columns: outside.out.columns, style };
}
