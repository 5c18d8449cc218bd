import { svg } from './dom.js';
import { formatMs, formatNumber, t } from './i18n.js';
import { median } from './mesh-stats.js';
import { Pulses } from './pulses.js';

const WIDTH = 360;
const GAP = 10;
const BROWSER = { x: WIDTH / 2, y: 20, width: 104, height: 32 };
const GATEWAY = { x: WIDTH / 2, y: 105, width: 168, height: 48 };
const FORK_Y = 172;
const LEAF_Y = 262;
const LEAF_HEIGHT = 52;
const ROOMY = 100;
const LETTER = 6.6;
const HEIGHT = 314;

/** The live picture: browser, gateway, and each version of the services behind it. */
export class MeshPicture {
  #shape = '';

  /** @param {HTMLElement} place */
  constructor(place) {
    this.nodes = svg('g');
    this.edges = svg('g');
    this.labels = svg('g');
    const dots = svg('g');
    place.append(svg('svg', { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}` }, this.edges, dots, this.nodes, this.labels));
    this.pulses = new Pulses(dots);
    /** @type {Map<string, {edge: SVGPathElement, x: number, width: number}>} */
    this.ends = new Map();
  }

  /**
   * Shows the counts as they are now.
   * @param {import('./mesh-stats.js').MeshStats} stats
   */
  draw(stats) {
    const shape = stats.leaves.map((leaf) => leaf.id).join();
    if (shape !== this.#shape) this.#layOut(stats);
    this.#shape = shape;
    const most = Math.max(1, ...stats.leaves.map((leaf) => leaf.count));
    const parts = [...this.#gateway(stats.gateway)];
    const labels = [edgeLabel(BROWSER.x, 60, stats.gateway)];
    for (const leaf of stats.leaves) {
      const end = this.ends.get(leaf.id);
      mark(end.edge, leaf);
      end.edge.style.strokeWidth = `${1.5 + 3 * (leaf.count / most)}px`;
      parts.push(...leafNode(leaf, end));
      labels.push(edgeLabel(end.x, LEAF_Y - LEAF_HEIGHT / 2 - 19, leaf, end.width), coldMark(end, leaf));
    }
    this.#drawEvents(stats);
    mark(this.browserEdge, stats.gateway);
    for (const [service, { x, trunk }] of this.trunks) {
      const lost = stats.lost.get(service) ?? 0;
      const count = stats.of(service).reduce((sum, leaf) => sum + leaf.count, 0);
      mark(trunk, { count, failed: lost });
      parts.push(forkNode(x, count > 0, lost));
      labels.push(lostLabel(x, lost));
    }
    this.nodes.replaceChildren(...browserNode(), ...parts);
    this.labels.replaceChildren(...labels.filter(Boolean));
    this.#fit();
  }

  /** Widens labels to their texts, and squeezes texts that are wider than their boxes: users may set font and spacing. */
  #fit() {
    for (const label of this.labels.querySelectorAll('.edge-label')) {
      const width = label.lastChild.getComputedTextLength() + 14;
      label.firstChild.setAttribute('x', label.lastChild.getAttribute('x') - width / 2);
      label.firstChild.setAttribute('width', width);
    }
    for (const node of this.nodes.querySelectorAll('[data-room]')) {
      if (node.getComputedTextLength() <= node.dataset.room) continue;
      node.setAttribute('textLength', node.dataset.room);
      node.setAttribute('lengthAdjust', 'spacingAndGlyphs');
    }
  }

  /**
   * Animates one call.
   * @param {import('./api.js').Call} call
   * @param {ReturnType<import('./mesh-stats.js').MeshStats['add']>} hops
   */
  pulse(call, hops) {
    if (!hops.length) return this.pulses.send([this.browserEdge], 'to-gateway', call.failed);
    for (const hop of hops) {
      const end = hop.leaf && this.ends.get(hop.leaf.id);
      const trunk = this.trunks.get(hop.service)?.trunk;
      this.pulses.send([this.browserEdge, trunk, end?.edge].filter(Boolean), kindOf(hop.leaf, hop.service), hop.failed);
    }
  }

  /** Animates one event. @param {{id: string} | null} leaf the version of user that received it */
  pulseEvent(leaf) {
    const path = this.eventEdges.get(leaf?.id);
    if (path) this.pulses.send([path], 'kind-rule', false);
  }

  /** Draws the edges of events, from rule to user, below the services: events are no part of a call. */
  #drawEvents(stats) {
    const [from] = stats.of('rule');
    for (const id of stats.events.keys()) {
      const to = this.ends.get(id);
      if (!from || !to || this.eventEdges.has(id)) continue;
      const [start, y] = [this.ends.get(from.id).x, LEAF_Y + LEAF_HEIGHT / 2];
      const path = edge(`mesh-event-${id}`, 'event kind-rule', `M${start} ${y}C${start - 12} ${y + 30} ${to.x + 12} ${y + 30} ${to.x} ${y}`);
      this.eventEdges.set(id, path);
      this.edges.append(path);
    }
    for (const [id, path] of this.eventEdges) {
      mark(path, { count: stats.events.get(id)?.count ?? 0, failed: 0 });
    }
  }

  #layOut(stats) {
    this.eventEdges = new Map();
    const { leaves } = stats;
    const width = (WIDTH - GAP * (leaves.length - 1)) / leaves.length;
    const startY = GATEWAY.y + GATEWAY.height / 2;
    const endY = LEAF_Y - LEAF_HEIGHT / 2;
    this.ends = new Map();
    this.trunks = new Map();
    this.browserEdge = edge('mesh-edge-todolist', 'to-gateway', `M${BROWSER.x} ${BROWSER.y + 16}V${GATEWAY.y - GATEWAY.height / 2}`);
    const paths = [this.browserEdge];
    const xOf = (leaf) => leaves.indexOf(leaf) * (width + GAP) + width / 2;
    const services = stats.services();
    services.forEach((service, index) => {
      const own = stats.of(service);
      const startX = GATEWAY.x + (index - (services.length - 1) / 2) * 84;
      const middle = own.reduce((sum, leaf) => sum + xOf(leaf), 0) / own.length;
      let from = { x: startX, y: startY };
      if (own.length > 1) {
        const trunk = edge(`mesh-trunk-${service}`, 'trunk', curve(from, { x: middle, y: FORK_Y }));
        from = { x: middle, y: FORK_Y };
        paths.push(trunk);
        this.trunks.set(service, { x: middle, trunk });
      }
      for (const leaf of own) {
        const path = edge(`mesh-edge-${leaf.id}`, kindOf(leaf, service), curve(from, { x: xOf(leaf), y: endY }));
        paths.push(path);
        this.ends.set(leaf.id, { edge: path, x: xOf(leaf), width });
      }
    });
    this.edges.replaceChildren(...paths);
  }

  #gateway(gateway) {
    const { x, y, width, height } = GATEWAY;
    const about = gateway.count ? [gateway.version, podsText(gateway)].filter(Boolean).join(' · ') : t('mesh.waiting');
    return [
      svg('rect', { class: `node gateway${gateway.failing ? ' failing' : ''}`, x: x - width / 2, y: y - height / 2, width, height, rx: 13 }),
      text(x, y - 3, 'node-name', `todolist · ${t('mesh.gateway')}`, { 'data-room': width - 12 }),
      text(x, y + 14, 'node-sub', about, { 'data-room': width - 12 }),
    ];
  }
}

/** @param {{version: string | null, service: string} | null} leaf @param {string} service @returns {string} the class that colours it */
export function kindOf(leaf, service) {
  if (service === 'user') return leaf ? `kind-${leaf.version}` : 'trunk';
  return `kind-${service}`;
}

const curve = (a, b) => {
  const bend = (b.y - a.y) * 0.55;
  return `M${a.x} ${a.y}C${a.x} ${a.y + bend} ${b.x} ${b.y - bend} ${b.x} ${b.y}`;
};

const edge = (testId, kind, d) => svg('path', { class: `edge ${kind}`, d, 'data-testid': testId, 'data-count': 0, 'data-failed': 0 });

function mark(path, { count, failed }) {
  path.dataset.count = count;
  path.dataset.failed = failed;
  path.classList.toggle('unseen', count + failed === 0);
}

const text = (x, y, kind, content, extra = {}) => svg('text', { x, y, class: kind, ...extra }, content);

const browserNode = () => [
  svg('rect', { class: 'node', x: BROWSER.x - BROWSER.width / 2, y: BROWSER.y - 16, width: BROWSER.width, height: 32, rx: 16 }),
  text(BROWSER.x, BROWSER.y + 4.5, 'node-name', t('mesh.browser'), { 'data-room': BROWSER.width - 16 }),
];

function leafNode(leaf, { x, width }) {
  const top = LEAF_Y - LEAF_HEIGHT / 2;
  const unseen = leaf.count + leaf.failed === 0;
  const name = leaf.version ? `${leaf.service} ${leaf.version}` : leaf.service;
  return [
    svg('rect', { class: `node ${kindOf(leaf, leaf.service)}${unseen ? ' unseen' : ''}${leaf.failing ? ' failing' : ''}`, x: x - width / 2 + 1, y: top, width: width - 2, height: LEAF_HEIGHT, rx: 13 }),
    text(x, LEAF_Y - 3, `node-name${unseen ? ' unseen' : ''}`, name, { 'data-room': width - 12 }),
    text(x, LEAF_Y + 15, 'node-sub', subtitle(leaf, width), { 'data-room': width - 12 }),
  ];
}

function subtitle(leaf, width) {
  if (leaf.count) return podsText(leaf, width < ROOMY ? Math.floor(width / LETTER) - 1 : undefined);
  if (width < ROOMY) return leaf.failing ? '✕' : '–';
  return t(leaf.failing ? 'log.noAnswer' : 'mesh.waiting');
}

const podsText = (leaf, room) => (leaf.instances.size > 1 ? t('mesh.pods', { count: leaf.instances.size }) : shorten(leaf.lastInstance ?? '', room));

// Pods of one version differ only in the end of their names.
const shorten = (instance, room = 15) => (instance.length > room ? `…${instance.slice(1 - room)}` : instance);

function edgeLabel(x, y, leaf, room = ROOMY) {
  if (leaf.count + leaf.failed === 0) return null;
  const count = `${formatNumber(leaf.count)}×`;
  const ms = leaf.count && room >= ROOMY ? formatMs(median(leaf.durations)) : '';
  const failed = leaf.failed ? ` ✕${formatNumber(leaf.failed)}` : '';
  return svg('g', { class: 'edge-label' },
    svg('rect', { y: y - 10, height: 20, rx: 10 }),
    svg('text', { x, y: y + 4 }, svg('tspan', { class: 'label-count' }, count), svg('tspan', {}, ms ? ` ${ms}` : ''), svg('tspan', { class: 'label-failed' }, failed)));
}

const forkNode = (x, active, lost) => svg('rect', {
  class: `fork${active ? '' : ' unseen'}${lost ? ' lost' : ''}`, x: x - 6, y: FORK_Y - 6, width: 12, height: 12, rx: 3, transform: `rotate(45 ${x} ${FORK_Y})`,
});

const lostLabel = (x, lost) => (lost ? text(x - 15, FORK_Y + 4, 'lost-label', `✕ ${formatNumber(lost)}`) : null);

function coldMark({ x, width }, leaf) {
  if (!leaf.cold.count) return null;
  const right = x + width / 2 - 2;
  const times = leaf.cold.count > 1 ? `${leaf.cold.count}× ` : '';
  return svg('g', { class: 'cold', 'data-testid': `cold-${leaf.id}`, 'data-count': leaf.cold.count },
    text(x, LEAF_Y + LEAF_HEIGHT / 2 + 17, 'cold-text', `❄ ${times}${formatMs(leaf.cold.ms)}`),
    svg('circle', { cx: right - 5, cy: LEAF_Y - LEAF_HEIGHT / 2 + 5, r: 9 }),
    svg('path', { transform: `translate(${right - 11.6} ${LEAF_Y - LEAF_HEIGHT / 2 - 1.6}) scale(.55)`, d: 'M12 3v18M4.2 7.5l15.6 9M4.2 16.5l15.6-9' }));
}
