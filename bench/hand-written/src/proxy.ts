/** The other side of `npm run bench -- proxy`: a Worker that only fetches. */

interface Env {
  readonly EGRESS: Fetcher;
  readonly UPSTREAM: string;
}

export default {
  fetch(request, env) {
    const { url } = request;
    return env.EGRESS.fetch(env.UPSTREAM + url.slice(url.indexOf('/', url.indexOf('//') + 2)), request);
  },
} satisfies ExportedHandler<Env>;
