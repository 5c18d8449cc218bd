import { prefersStill, svg } from './dom.js';

const HOP_MS = 260;
const MOST = 36;

/** Lights that run along the edges of the picture, one for each call. */
export class Pulses {
  #running = [];
  #frame = 0;

  /** @param {SVGElement} layer where the lights are drawn */
  constructor(layer) { this.layer = layer; }

  /**
   * Sends a light along these edges, one after the other.
   * @param {SVGPathElement[]} paths
   * @param {string} kind a class that gives the colour
   * @param {boolean} failed it ends in a red ring instead of arriving
   */
  send(paths, kind, failed) {
    if (!paths.length || document.hidden || this.#running.length >= MOST) return;
    if (prefersStill()) return this.#blink(paths, failed);
    const light = svg('circle', { class: `pulse ${kind}${failed ? ' failed' : ''}`, r: failed ? 4.5 : 4 });
    this.layer.append(light);
    const pulse = { paths, light, failed, started: performance.now() };
    // Put in its place at once: until the next frame it would shine in the corner of the picture.
    if (this.#move(pulse, pulse.started)) this.#running.push(pulse);
    this.#frame ||= requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    this.#running = this.#running.filter((pulse) => this.#move(pulse, now));
    this.#frame = this.#running.length ? requestAnimationFrame((next) => this.#step(next)) : 0;
  }

  #move({ paths, light, failed, started }, now) {
    const along = Math.max(0, (now - started) / HOP_MS);
    const path = paths[Math.floor(along)];
    if (path?.isConnected) {
      const part = along % 1;
      const point = path.getPointAtLength(path.getTotalLength() * part);
      light.setAttribute('cx', point.x);
      light.setAttribute('cy', point.y);
      return true;
    }
    if (failed && path === undefined) {
      const ring = light.animate([{ r: '4px', opacity: 1 }, { r: '15px', opacity: 0 }], { duration: 420, easing: 'ease-out' });
      ring.onfinish = () => light.remove();
    } else {
      light.remove();
    }
    return false;
  }

  #blink(paths, failed) {
    const last = paths.at(-1);
    last.classList.add(failed ? 'blink-failed' : 'blink');
    setTimeout(() => last.classList.remove('blink', 'blink-failed'), 250);
  }
}
