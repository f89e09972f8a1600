/** As much of a browser as signing in takes: cookies by host, redirects followed by hand, forms sent. */
export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();

  /** One request, its answer as it is. */
  async visit(url: string, init: RequestInit = {}): Promise<Response> {
    const { host } = new URL(url);
    const jar = this.#cookies.get(host) ?? new Map<string, string>();
    this.#cookies.set(host, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { ...(init.headers as Record<string, string>), ...(cookie === "" ? {} : { cookie }) };
    const response = await fetch(url, { ...init, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      const [pair = "", ...attributes] = line.split("; ");
      const [name = "", value = ""] = pair.split(/=(.*)/s);
      if (value === "" || attributes.some((attribute) => /^max-age=0$|^expires=Thu, 01 Jan 1970/i.test(attribute))) {
        jar.delete(name);
      } else jar.set(name, value);
    }
    return response;
  }

  /** Follows redirects, and sends what forms it comes to, until there is neither, or the next address would fit `until`. */
  async follow(url: string, until?: RegExp): Promise<{ readonly url: string; readonly response: Response | null }> {
    let next = url;
    let init: RequestInit = {};
    for (let steps = 0; steps < 20; steps++) {
      if (until?.test(next)) return { url: next, response: null };
      const response = await this.visit(next, init);
      const location = response.headers.get("location");
      init = {};
      if (location !== null) {
        next = new URL(location, next).href;
        continue;
      }
      const page = response.headers.get("content-type")?.startsWith("text/html") ? await response.clone().text() : "";
      const form = /<form[^>]* action="([^"]+)"[^>]*>([\s\S]*?)<\/form>/.exec(page);
      // A form with a field to fill in is one for people.
      if (form === null || /type="text"/.test(form[0])) return { url: next, response };
      const [, action = "", fields = ""] = form;
      const inputs = new URLSearchParams();
      for (const [input] of fields.matchAll(/<input[^>]*>/g)) {
        inputs.append(/name="([^"]*)"/.exec(input)?.[1] ?? "", /value="([^"]*)"/.exec(input)?.[1] ?? "");
      }
      init = {
        method: "POST",
        body: inputs.toString(),
        headers: { "content-type": "application/x-www-form-urlencoded" },
      };
      next = new URL(action, next).href;
    }
    throw new Error(`${url} leads round in circles`);
  }

  cookiesOf(url: string): ReadonlyMap<string, string> {
    return this.#cookies.get(new URL(url).host) ?? new Map();
  }

  /** What an attacker plants, or a person forgets. */
  setCookie(url: string, name: string, value: string): void {
    const { host } = new URL(url);
    this.#cookies.set(host, new Map([...(this.#cookies.get(host) ?? []), [name, value]]));
  }
}
