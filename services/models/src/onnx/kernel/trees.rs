//! Trees, checked and laid out flat: nodes by number, leaves by range.

use super::super::{CheckError, attributes::Attributes};
use std::collections::{HashMap, HashSet};

/// Values of one kind that trees compare and add up.
pub(super) trait Real: Copy + PartialOrd + std::ops::AddAssign + Default + std::fmt::Debug + Send + Sync {
    fn is_missing(self) -> bool;
    fn as_f32(self) -> f32;
}

impl Real for f32 {
    fn is_missing(self) -> bool {
        self.is_nan()
    }
    fn as_f32(self) -> f32 {
        self
    }
}

impl Real for f64 {
    fn is_missing(self) -> bool {
        self.is_nan()
    }
    fn as_f32(self) -> f32 {
        self as f32
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    NotEqual,
    Leaf,
}

impl Mode {
    fn of(name: &str, attributes: &Attributes<'_>) -> Result<Self, CheckError> {
        Ok(match name {
            "BRANCH_LEQ" => Self::AtMost,
            "BRANCH_LT" => Self::Below,
            "BRANCH_GTE" => Self::AtLeast,
            "BRANCH_GT" => Self::Above,
            "BRANCH_EQ" => Self::Equal,
            "BRANCH_NEQ" => Self::NotEqual,
            "LEAF" => Self::Leaf,
            other => return Err(attributes.unsound(format!("a node's mode is {other}, which is not supported"))),
        })
    }

    fn holds<T: Real>(self, value: T, threshold: T) -> bool {
        match self {
            Self::AtMost => value <= threshold,
            Self::Below => value < threshold,
            Self::AtLeast => value >= threshold,
            Self::Above => value > threshold,
            Self::Equal => value == threshold,
            Self::NotEqual => value != threshold,
            Self::Leaf => false,
        }
    }
}

/// A node. `yes` and `no` are the nodes that follow, or, of a leaf, the range of its shares.
#[derive(Debug, Clone, Copy)]
struct Node<T> {
    threshold: T,
    feature: u32,
    yes: u32,
    no: u32,
    mode: Mode,
    missing_is_yes: bool,
}

/// What a leaf adds to a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share<T> {
    pub(super) target: u32,
    pub(super) weight: T,
}

/// Trees that can be walked: every path ends in a leaf.
#[derive(Debug)]
pub(super) struct Trees<T> {
    nodes: Vec<Node<T>>,
    roots: Vec<u32>,
    shares: Vec<Share<T>>,
    /// Features a row must have.
    features: usize,
}

impl<T: Real> Trees<T> {
    pub(super) fn features(&self) -> usize {
        self.features
    }

    pub(super) fn count(&self) -> usize {
        self.roots.len()
    }

    pub(super) fn shares(&self) -> &[Share<T>] {
        &self.shares
    }

    /// Calls with the leaf's shares of each tree, for one row of at least [`Trees::features`] values.
    pub(super) fn walk(&self, row: &[T], mut then: impl FnMut(&[Share<T>])) {
        for &root in &self.roots {
            let mut node = &self.nodes[root as usize];
            while node.mode != Mode::Leaf {
                let value = row[node.feature as usize];
                let yes = node.mode.holds(value, node.threshold) || (node.missing_is_yes && value.is_missing());
                node = &self.nodes[if yes { node.yes } else { node.no } as usize];
            }
            then(&self.shares[node.yes as usize..node.no as usize]);
        }
    }

    /// The same trees in values of another kind.
    pub(super) fn cast<U: Real>(&self, cast: impl Fn(T) -> U) -> Trees<U> {
        let node = |node: &Node<T>| Node {
            threshold: cast(node.threshold),
            feature: node.feature,
            yes: node.yes,
            no: node.no,
            mode: node.mode,
            missing_is_yes: node.missing_is_yes,
        };
        let share = |share: &Share<T>| Share { target: share.target, weight: cast(share.weight) };
        Trees {
            nodes: self.nodes.iter().map(node).collect(),
            roots: self.roots.clone(),
            shares: self.shares.iter().map(share).collect(),
            features: self.features,
        }
    }
}

/// Which tree, which node of it.
type Id = (i64, i64);

impl Trees<f64> {
    /// Reads and checks the trees of a node whose leaves' attributes begin with `leaf` (`class` or `target`).
    pub(super) fn read(attributes: &Attributes<'_>, leaf: &str, targets: usize) -> Result<Self, CheckError> {
        let ids = ids(attributes, "nodes_treeids", "nodes_nodeids")?;
        if ids.is_empty() {
            return Err(attributes.unsound("it has no trees"));
        }
        let places = places(attributes, &ids)?;
        let mut nodes = read_nodes(attributes, &ids, &places)?;
        let roots = roots(attributes, &ids, &nodes)?;
        let shares = read_shares(attributes, leaf, targets, &places, &mut nodes)?;
        let features = nodes.iter().filter(|node| node.mode != Mode::Leaf).map(|node| node.feature as usize + 1).max();
        Ok(Self { nodes, roots, shares, features: features.unwrap_or(0) })
    }
}

fn ids(attributes: &Attributes<'_>, trees: &str, nodes: &str) -> Result<Vec<Id>, CheckError> {
    let (trees, listed) = (attributes.ints(trees), attributes.ints(nodes));
    attributes.as_many(nodes, listed, trees.len())?;
    Ok(trees.iter().copied().zip(listed.iter().copied()).collect())
}

fn places(attributes: &Attributes<'_>, ids: &[Id]) -> Result<HashMap<Id, u32>, CheckError> {
    let mut places = HashMap::with_capacity(ids.len());
    for (place, &id) in ids.iter().enumerate() {
        if places.insert(id, place as u32).is_some() {
            return Err(attributes.unsound(format!("tree {} has node {} twice", id.0, id.1)));
        }
    }
    Ok(places)
}

fn read_nodes(attributes: &Attributes<'_>, ids: &[Id], places: &HashMap<Id, u32>) -> Result<Vec<Node<f64>>, CheckError> {
    let count = ids.len();
    let features = attributes.ints("nodes_featureids");
    let thresholds = attributes.reals("nodes_values")?;
    let modes = attributes.texts("nodes_modes")?;
    let (yes, no) = (attributes.ints("nodes_truenodeids"), attributes.ints("nodes_falsenodeids"));
    let missing = attributes.ints("nodes_missing_value_tracks_true");
    attributes.as_many("nodes_featureids", features, count)?;
    attributes.as_many("nodes_values", &thresholds, count)?;
    attributes.as_many("nodes_modes", &modes, count)?;
    attributes.as_many("nodes_truenodeids", yes, count)?;
    attributes.as_many("nodes_falsenodeids", no, count)?;
    if !missing.is_empty() {
        attributes.as_many("nodes_missing_value_tracks_true", missing, count)?;
    }
    let node = |at: usize| {
        let mode = Mode::of(modes[at], attributes)?;
        let follows =
            |id: i64| match (mode, places.get(&(ids[at].0, id))) {
                (Mode::Leaf, _) => Ok(0),
                (_, Some(&place)) => Ok(place),
                _ => Err(attributes
                    .unsound(format!("node {} of tree {} leads to node {id}, which is not there", ids[at].1, ids[at].0))),
            };
        let feature = match u32::try_from(features[at]) {
            Ok(feature) if feature < 1 << 20 => feature,
            _ if mode == Mode::Leaf => 0,
            _ => return Err(attributes.unsound(format!("feature {} is absurd", features[at]))),
        };
        let missing_is_yes = missing.get(at).is_some_and(|&is| is != 0);
        Ok(Node { threshold: thresholds[at], feature, yes: follows(yes[at])?, no: follows(no[at])?, mode, missing_is_yes })
    };
    (0..count).map(node).collect()
}

/// The root of each tree, in the order of the trees' first nodes. From the roots every node is reached once, so no path is a circle.
fn roots(attributes: &Attributes<'_>, ids: &[Id], nodes: &[Node<f64>]) -> Result<Vec<u32>, CheckError> {
    let branches = nodes.iter().filter(|node| node.mode != Mode::Leaf);
    let mut reached = vec![false; nodes.len()];
    for child in branches.flat_map(|node| [node.yes, node.no]) {
        if std::mem::replace(&mut reached[child as usize], true) {
            let (tree, node) = ids[child as usize];
            return Err(attributes.unsound(format!("two nodes of tree {tree} lead to node {node}")));
        }
    }
    let mut trees = HashSet::new();
    let mut roots = Vec::new();
    for (place, &(tree, _)) in ids.iter().enumerate() {
        if !reached[place] {
            if !trees.insert(tree) {
                return Err(attributes.unsound(format!("tree {tree} has two roots")));
            }
            roots.push(place as u32);
        }
    }
    match visited(&roots, nodes) {
        visited if visited == nodes.len() => Ok(roots),
        visited => Err(attributes.unsound(format!("{} nodes lead round in a circle", nodes.len() - visited))),
    }
}

/// How many nodes the roots lead to. Each has one parent, so this ends.
fn visited(roots: &[u32], nodes: &[Node<f64>]) -> usize {
    let (mut visited, mut left) = (0, roots.to_vec());
    while let Some(at) = left.pop() {
        visited += 1;
        let node = &nodes[at as usize];
        if node.mode != Mode::Leaf {
            left.extend([node.yes, node.no]);
        }
    }
    visited
}

/// Reads the leaves' shares, and gives each leaf its range of them.
fn read_shares(
    attributes: &Attributes<'_>,
    leaf: &str,
    targets: usize,
    places: &HashMap<Id, u32>,
    nodes: &mut [Node<f64>],
) -> Result<Vec<Share<f64>>, CheckError> {
    let owners = ids(attributes, &format!("{leaf}_treeids"), &format!("{leaf}_nodeids"))?;
    let listed = attributes.ints(&format!("{leaf}_ids"));
    let weights = attributes.reals(&format!("{leaf}_weights"))?;
    attributes.as_many(&format!("{leaf}_ids"), listed, owners.len())?;
    attributes.as_many(&format!("{leaf}_weights"), &weights, owners.len())?;
    let mut shares = Vec::with_capacity(owners.len());
    for (at, owner) in owners.iter().enumerate() {
        let place = places.get(owner);
        let place = *place.ok_or_else(|| attributes.unsound(format!("tree {} has no node {}", owner.0, owner.1)))?;
        let target = u32::try_from(listed[at]).ok().filter(|&target| (target as usize) < targets);
        let target = target.ok_or_else(|| attributes.unsound(format!("there is no {leaf} {}, only {targets}", listed[at])))?;
        // Some exporters give branches a weight, too; it means nothing.
        if nodes[place as usize].mode == Mode::Leaf {
            shares.push((place, Share { target, weight: weights[at] }));
        }
    }
    shares.sort_by_key(|&(place, _)| place);
    let mut at = 0;
    for (place, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.mode == Mode::Leaf) {
        let own = shares[at..].iter().take_while(|&&(owner, _)| owner as usize == place).count();
        (node.yes, node.no) = (at as u32, (at + own) as u32);
        at += own;
    }
    Ok(shares.into_iter().map(|(_, share)| share).collect())
}
