//! Where the symbolic links of a snapshot lead.

use std::collections::BTreeMap;

/// As many as Linux follows on one path.
const MOST: usize = 40;

/// Whether a link, followed through all others, leads out of the folder that they are in. `links` are the targets by the
/// paths of the links in it.
pub fn leads_out(links: &BTreeMap<String, String>, link: &str) -> bool {
    let mut place: Vec<&str> = link.split('/').collect();
    place.pop();
    let mut followed = 0;
    // What is still to be gone, the next step last.
    let Some(target) = links.get(link) else { return false };
    if target.starts_with('/') {
        return true;
    }
    let mut steps: Vec<&str> = target.split('/').rev().collect();
    while let Some(step) = steps.pop() {
        match step {
            "" | "." => {}
            ".." => {
                if place.pop().is_none() {
                    return true;
                }
            }
            name => {
                place.push(name);
                if let Some(target) = links.get(&place.join("/")) {
                    followed += 1;
                    if target.starts_with('/') {
                        return true;
                    }
                    // One that never ends leads nowhere.
                    if followed == MOST {
                        return false;
                    }
                    place.pop();
                    steps.extend(target.split('/').rev());
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_out_if_any_step_of_its_way_does() {
        let links = [
            ("a/inside", "../b/file"),
            ("a/dangling", "me@host.12:34"),
            ("absolute", "/etc/shadow"),
            ("a/above", "../../file"),
            ("a/out-and-in", "../../repository/a"),
            ("a/top", ".."),
            ("a/round", "round"),
            // Its own text stays inside, but `a/top` is the top.
            ("a/through", "top/../file"),
            ("a/by-another", "../absolute"),
        ];
        let map: BTreeMap<String, String> = links.iter().map(|(link, to)| ((*link).into(), (*to).into())).collect();
        let out: Vec<&str> = links.iter().map(|(link, _)| *link).filter(|link| leads_out(&map, link)).collect();
        assert_eq!(out, ["absolute", "a/above", "a/out-and-in", "a/through", "a/by-another"]);
    }
}
