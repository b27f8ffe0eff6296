//! What must go together, and what before what, among things that are numbers. Near-linear, and without recursion.

/// Disjoint sets.
pub(super) struct Sets(Vec<usize>);

impl Sets {
    pub fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// The least member of a set is its name.
    pub fn find(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// The strongly connected components of a graph, each behind those that it leads to: what is on a cycle is in one component
/// (Tarjan 1972).
pub(super) fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let mut found = Vec::new();
    // When each node was met, and the earliest node still open that it reaches.
    let (mut met, mut low) = (vec![UNSEEN; edges.len()], vec![UNSEEN; edges.len()]);
    let (mut open, mut is_open) = (Vec::new(), vec![false; edges.len()]);
    let mut time = 0;
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..edges.len() {
        if met[start] == UNSEEN {
            path.push((start, 0));
        }
        while let Some((node, tried)) = path.pop() {
            if tried == 0 {
                (met[node], low[node]) = (time, time);
                time += 1;
                open.push(node);
                is_open[node] = true;
            } else {
                // Back from the edge before this one.
                let to = edges[node][tried - 1];
                if is_open[to] {
                    low[node] = low[node].min(low[to]);
                }
            }
            match edges[node].get(tried) {
                Some(to) => {
                    path.push((node, tried + 1));
                    if met[*to] == UNSEEN {
                        path.push((*to, 0));
                    }
                }
                None if low[node] == met[node] => {
                    let from = open.iter().rposition(|member| *member == node).expect("a node is open until its component is");
                    let component = open.split_off(from);
                    component.iter().for_each(|member| is_open[*member] = false);
                    found.push(component);
                }
                None => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(edges: &[&[usize]]) -> Vec<Vec<usize>> {
        let edges: Vec<Vec<usize>> = edges.iter().map(|to| to.to_vec()).collect();
        let mut found = components(&edges);
        found.iter_mut().for_each(|component| component.sort_unstable());
        found
    }

    #[test]
    fn a_chain_comes_out_from_its_end() {
        assert_eq!(sorted(&[&[1], &[2], &[]]), [vec![2], vec![1], vec![0]]);
    }

    #[test]
    fn what_is_on_a_cycle_is_one_component_behind_what_it_leads_to() {
        // 0 -> 1 -> 2 -> 1, 2 -> 3, and a node that leads to itself.
        assert_eq!(sorted(&[&[1], &[2], &[1, 3], &[], &[4]]), [vec![3], vec![1, 2], vec![0], vec![4]]);
    }

    #[test]
    fn two_cycles_that_share_a_node_are_one() {
        assert_eq!(sorted(&[&[1, 2], &[0], &[0]]), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_needs_no_stack() {
        let edges: Vec<Vec<usize>> =
            (0..100_000).map(|node| if node + 1 < 100_000 { vec![node + 1] } else { vec![] }).collect();
        assert_eq!(components(&edges).len(), 100_000);
    }
}
