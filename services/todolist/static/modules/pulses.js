import { prefersStill, svg } from './dom.js';

const HOP_MS = 260;
const MOST = 36;

/** Dots that move along the edges of the picture, one for each hop of a call. */
export class Pulses {
  #running = [];
  #frame = 0;

  /** @param {SVGElement} layer where the dots are drawn */
  constructor(layer) { this.layer = layer; }

  /**
   * Sends a dot along these edges, one after the other.
   * @param {SVGPathElement[]} paths
   * @param {string} kind a class that gives the colour
   * @param {boolean} failed whether it ends in a red ring
   */
  send(paths, kind, failed) {
    if (!paths.length || document.hidden || this.#running.length >= MOST) return;
    if (prefersStill()) return this.#blink(paths, failed);
    const dot = svg('circle', { class: `pulse ${kind}${failed ? ' failed' : ''}`, r: failed ? 4.5 : 4 });
    this.layer.append(dot);
    const pulse = { paths, dot, failed, started: performance.now() };
    // Placed at once: until the next frame it would otherwise show in the corner of the picture.
    if (this.#move(pulse, pulse.started)) this.#running.push(pulse);
    this.#frame ||= requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    this.#running = this.#running.filter((pulse) => this.#move(pulse, now));
    this.#frame = this.#running.length ? requestAnimationFrame((next) => this.#step(next)) : 0;
  }

  #move({ paths, dot, failed, started }, now) {
    const along = Math.max(0, (now - started) / HOP_MS);
    const path = paths[Math.floor(along)];
    if (path?.isConnected) {
      const part = along % 1;
      const point = path.getPointAtLength(path.getTotalLength() * part);
      dot.setAttribute('cx', point.x);
      dot.setAttribute('cy', point.y);
      return true;
    }
    if (failed && path === undefined) {
      const ring = dot.animate([{ r: '4px', opacity: 1 }, { r: '15px', opacity: 0 }], { duration: 420, easing: 'ease-out' });
      ring.onfinish = () => dot.remove();
    } else {
      dot.remove();
    }
    return false;
  }

  #blink(paths, failed) {
    const last = paths.at(-1);
    last.classList.add(failed ? 'blink-failed' : 'blink');
    setTimeout(() => last.classList.remove('blink', 'blink-failed'), 250);
  }
}
