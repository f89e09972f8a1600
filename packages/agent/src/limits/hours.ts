/** When this host may be changed, by the clock on its owner's wall. */
export interface Hours {
  /** An IANA time zone: summer time is its own affair. */
  readonly zone: string;
  readonly windows: readonly Window[];
}

/** On these days (0 is Sunday), from one minute of the day to another; past midnight where it ends before it begins. */
interface Window {
  readonly days: ReadonlySet<number>;
  readonly from: number;
  readonly to: number;
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const WINDOW = /^(?:([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? )?(\d\d):(\d\d)-(\d\d):(\d\d)$/;
const DAY_MINUTES = 24 * 60;

/** Reads `Mon-Fri 09:00-17:00`, `Sat 22:00-04:00` or `01:00-05:00`, which is every day. Null for anything else. */
export function parseWindow(text: string): Window | null {
  const [, first, last, ...times] = WINDOW.exec(text) ?? [];
  const [fromHour = 99, fromMinute = 0, toHour = 99, toMinute = 0] = times.map(Number);
  const [from, to] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute];
  const begin = DAYS.indexOf(first ?? "Sun");
  const end = DAYS.indexOf(last ?? first ?? "Sat");
  const isTime = (minutes: number, minute: number) => minutes <= DAY_MINUTES && minute < 60;
  if (begin < 0 || end < 0 || from === to || !isTime(from, fromMinute) || !isTime(to, toMinute)) return null;
  const count = ((end - begin + 7) % 7) + 1;
  return { days: new Set(Array.from({ length: count }, (_, index) => (begin + index) % 7)), from, to };
}

/** Is this a time zone that is known here? */
export function isZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: zone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/** May the host be changed at this moment (milliseconds since the epoch)? */
export function isWithin({ zone, windows }: Hours, at: number): boolean {
  const { day, minute } = wallClock(zone, at);
  const before = (day + 6) % 7;
  return windows.some(({ days, from, to }) =>
    from < to
      ? days.has(day) && minute >= from && minute < to
      : (days.has(day) && minute >= from) || (days.has(before) && minute < to),
  );
}

function wallClock(zone: string, at: number): { day: number; minute: number } {
  const options = { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  const parts = new Map(
    new Intl.DateTimeFormat("en-US", options).formatToParts(at).map(({ type, value }) => [type, value]),
  );
  return {
    day: DAYS.indexOf(parts.get("weekday") ?? ""),
    minute: Number(parts.get("hour")) * 60 + Number(parts.get("minute")),
  };
}
