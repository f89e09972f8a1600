/** What a service needs to tell its supervisor (systemd) how it fares. */
export interface NoticeOptions {
  env: Readonly<Record<string, string | undefined>>;
  /** Writes one datagram to a descriptor. May throw: a supervisor that hears nothing draws its own conclusions. */
  write: (descriptor: number, text: string) => void;
  /** Calls `fire` every `ms`; the returned function ends that. */
  every: (ms: number, fire: () => void) => () => void;
  /** Settles as long as what the service lives by still moves. One that never settles ends in a restart by the watchdog. */
  alive: () => Promise<void>;
}

/** One service's notices. Without a supervisor that listens, they go nowhere. */
export interface Notices {
  /** The service does its work; from here on the watchdog hears of it. */
  ready(): void;
  /** The service is on its way down, of its own will. */
  stopping(): void;
}

/** A third of what the watchdog waits for: one beat may be late, and one lost. */
const BEATS_PER_WATCH = 3;

/**
 * Speaks systemd's notification protocol on the descriptor that BELAY_NOTIFY_FD names: a datagram socket, connected to
 * systemd before the program was started, because Node.js can't open one. Being the main process' own, it needs no right for
 * child processes to speak for the service, and no process for every beat.
 */
export function openNotices({ env, write, every, alive }: NoticeOptions): Notices {
  const descriptor = Number(env.BELAY_NOTIFY_FD ?? Number.NaN);
  const watchMs = Number(env.WATCHDOG_USEC ?? Number.NaN) / 1000;
  let endBeats = () => {};
  const tell = (text: string) => {
    if (!Number.isInteger(descriptor)) return;
    try {
      write(descriptor, text);
    } catch {
      // A full socket, or a systemd that restarts itself just now: the next beat comes soon.
    }
  };
  let beating = false;
  const beat = async () => {
    // The last question is not answered yet: this silence is what the watchdog listens for.
    if (beating) return;
    beating = true;
    await Promise.allSettled([alive()]);
    beating = false;
    tell("WATCHDOG=1");
  };
  return {
    ready() {
      tell("READY=1");
      if (watchMs > 0) endBeats = every(watchMs / BEATS_PER_WATCH, () => void beat());
    },
    stopping() {
      endBeats();
      tell("STOPPING=1");
    },
  };
}
