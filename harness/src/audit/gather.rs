//! What is there to see? The mount table, sysfs and the kernel log are read
//! in-process, since that cannot hang; whatever lies on a mount is looked at by a
//! disposable child, with a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::facts::{Answer, Claim, DeletedLoop, Disk, Facts, Volume};
use super::place::{Place, Staging};
use crate::node::{
    BlockDevice, KernelLog, LookError, LoopDevice, MountTable, block_device, look, loops,
    mountinfo, superblock,
};

/// How many looks are out at once. Those at a dead server all wait.
const AT_ONCE: usize = 32;

/// A `vol_data.json` is some hundred bytes.
const ENOUGH: usize = 16 * 1024;

/// More pods than a node has, and more volumes than a pod.
const MANY: usize = 10_000;

/// Kinds of file systems that have no disk and no server to lose, and autofs,
/// where a look would mount something.
const NOT_ASKED: &[&str] = &[
    "autofs",
    "tmpfs",
    "ramfs",
    "devtmpfs",
    "devpts",
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "mqueue",
    "hugetlbfs",
    "nsfs",
    "overlay",
    "bpf",
    "tracefs",
    "debugfs",
    "securityfs",
];

/// Looks at everything once.
pub(super) async fn gather(root: &Path, deadline: Duration) -> io::Result<Facts> {
    let mut facts = Facts {
        root: root.to_owned(),
        ..Facts::default()
    };
    // First of all: a look at a dead disk leaves a line of its own.
    match KernelLog::from_start().and_then(|mut log| log.news()) {
        Ok(news) => facts.log = news.records,
        Err(error) => facts.lacking.push(format!("the kernel log: {error}")),
    }
    facts.table = MountTable::ours()?;
    let (asked, block_targets, staging) = to_ask(&facts);
    facts.answers = answers(asked, deadline).await;
    facts.block_targets = devices_of(block_targets, deadline).await;
    disks(&mut facts, deadline).await;
    deleted_loops(&mut facts);
    claims(&mut facts, deadline).await;
    let data = staging
        .into_iter()
        .map(|staging| (staging.data(root), staging));
    let volumes = each(data.collect(), move |(path, staging)| async move {
        Some((staging, volume(&path, deadline).await?))
    });
    facts.staged = volumes.await.into_iter().collect();
    Ok(facts)
}

/// What will be looked at: a mount of each file system, the block targets, and
/// where volumes are staged.
fn to_ask(facts: &Facts) -> (BTreeMap<u64, PathBuf>, BTreeSet<PathBuf>, BTreeSet<Staging>) {
    let (mut asked, mut block, mut staging) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for (mount, place) in facts.below() {
        // Below another mount: no path leads there.
        if !facts.is_on_top(mount) {
            continue;
        }
        match place {
            Place::BlockTarget(_) | Place::BlockOfPod(_) => {
                block.insert(mount.point.clone());
            }
            Place::Staging(at) => {
                staging.insert(at);
            }
            _ => {}
        }
        if !NOT_ASKED.contains(&mount.fs_type.as_str()) && seen.insert(mount.dev()) {
            asked.insert(mount.id, mount.point.clone());
        }
    }
    (asked, block, staging)
}

async fn answers(asked: BTreeMap<u64, PathBuf>, deadline: Duration) -> BTreeMap<u64, Answer> {
    let looks = each(asked.into_iter().collect(), move |(id, point)| async move {
        Some((id, answer(&point, deadline).await?))
    });
    looks.await.into_iter().collect()
}

/// None where the look itself could not be made.
async fn answer(point: &Path, deadline: Duration) -> Option<Answer> {
    // stat(2) may be answered from a cache; statfs(2) asks the server.
    let told = match look::stat(point, deadline).await {
        Ok(_) => look::statfs(point, deadline).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match told {
        Ok(()) => Some(Answer::Alive),
        Err(LookError::NoAnswer { after, .. }) => Some(Answer::Silent(after)),
        Err(LookError::Os { errno, what, .. }) => Some(Answer::Refused(errno, what.to_owned())),
        Err(LookError::NotThat { .. } | LookError::Ours { .. }) => None,
    }
}

/// The devices that the files at these paths stand for.
async fn devices_of(paths: BTreeSet<PathBuf>, deadline: Duration) -> BTreeMap<PathBuf, (u32, u32)> {
    let looks = each(
        paths.into_iter().collect(),
        move |path: PathBuf| async move {
            let stat = look::stat_follow(&path, deadline).await.ok()?;
            stat.is_block_device().then_some((path, stat.rdev))
        },
    );
    looks.await.into_iter().collect()
}

/// The block devices behind mounts and block targets.
async fn disks(facts: &mut Facts, deadline: Duration) {
    if !Path::new("/sys/dev/block").is_dir() {
        facts
            .lacking
            .push("block devices: sysfs is not at /sys".to_owned());
        return;
    }
    let mounted: BTreeSet<_> = facts.below().map(|(mount, _)| mount.dev()).collect();
    let numbers: BTreeSet<_> = facts
        .block_targets
        .values()
        .copied()
        .chain(mounted.iter().copied())
        // Major 0 is for file systems without a device of their own.
        .filter(|(major, _)| *major != 0)
        .collect();
    let looks = each(numbers.into_iter().collect(), move |number| {
        // Only what is mounted is opened: that a device is open besides can make
        // the end of its use fail.
        let read = mounted.contains(&number);
        async move { Some((number, disk(number, read, deadline).await)) }
    });
    for (number, found) in looks.await {
        match found {
            Ok(disk) => {
                facts.disks.insert(number, disk);
            }
            Err(error) => facts.lacking.push(error.to_string()),
        }
    }
}

async fn disk(number: (u32, u32), read: bool, deadline: Duration) -> io::Result<Disk> {
    let device = match block_device(number.0, number.1) {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Disk::Gone),
        Err(error) => return Err(error),
    };
    let (mut uuid, mut unreadable) = (None, None);
    if let Some(path) = opened(&device, read, deadline).await {
        unreadable = end(&path, device.size, deadline).await;
        if unreadable.is_none() {
            let head = look::read_device(&path, 0, superblock::HEAD, deadline).await;
            uuid = head.ok().and_then(|head| superblock::uuid(&head));
        }
    }
    Ok(Disk::There {
        name: device.name,
        size: device.size,
        uuid,
        unreadable,
    })
}

/// The device's file, if it is to be read, and is that device's.
async fn opened(device: &BlockDevice, read: bool, deadline: Duration) -> Option<PathBuf> {
    // A name with a slash has a `!` there in sysfs.
    let path = Path::new("/dev").join(device.name.replace('!', "/"));
    if !read || device.size == 0 {
        return None;
    }
    let seen = look::open_device(&path, false, deadline).await.ok()?;
    (seen.disk.number == device.id.number).then_some(path)
}

/// What a disk answers when its end is read; none where it is read. The end, since
/// the beginning of what is mounted is in the kernel's cache.
async fn end(path: &Path, size: u64, deadline: Duration) -> Option<Answer> {
    const BLOCK: u64 = 4096;
    let at = (size / BLOCK).checked_sub(1)? * BLOCK;
    match look::read_device(path, at, BLOCK as usize, deadline).await {
        Err(LookError::Os { errno, .. }) => {
            let asked = format!("a read of the end of {}", path.display());
            Some(Answer::Refused(errno, asked))
        }
        Err(LookError::NoAnswer { after, .. }) => Some(Answer::Silent(after)),
        _ => None,
    }
}

fn deleted_loops(facts: &mut Facts) {
    match loops() {
        Ok(all) => {
            let deleted = all.into_iter().filter(|device| device.backing_deleted);
            facts.loops = deleted.map(with_use).collect();
        }
        Err(error) => facts.lacking.push(format!("loop devices: {error}")),
    }
}

fn with_use(device: LoopDevice) -> DeletedLoop {
    let holders = PathBuf::from(format!("/sys/block/loop{}/holders", device.number));
    let held = std::fs::read_dir(holders).is_ok_and(|mut list| list.next().is_some());
    // What cannot be known counts as use: it is not ours to blame.
    let in_use = held || mountinfo::is_mounted_anywhere(device.id.number).unwrap_or(true);
    DeletedLoop { device, in_use }
}

/// The volumes of the pods, as the kubelet keeps them in its folders.
async fn claims(facts: &mut Facts, deadline: Duration) {
    let pods = facts.root.join("pods");
    let uids = match names(&pods, deadline).await {
        Ok(uids) => uids,
        Err(error) if error.is_not_found() => return,
        Err(error) => {
            facts.lacking.push(format!("the pods: {error}"));
            facts.pods_unknown = true;
            return;
        }
    };
    let root = facts.root.clone();
    let looks = each(uids, move |pod| {
        let root = root.clone();
        async move { Some(of_pod(&root, &pod, deadline).await) }
    });
    for (claims, lacking) in looks.await {
        facts.claims.extend(claims);
        facts.pods_unknown |= !lacking.is_empty();
        facts.lacking.extend(lacking);
    }
}

async fn of_pod(root: &Path, pod: &str, deadline: Duration) -> (Vec<Claim>, Vec<String>) {
    let (mut claims, mut lacking) = (Vec::new(), Vec::new());
    for block in [false, true] {
        let kind = if block { "volumeDevices" } else { "volumes" };
        let folder = root
            .join("pods")
            .join(pod)
            .join(kind)
            .join("kubernetes.io~csi");
        let volumes = match names(&folder, deadline).await {
            Ok(names) => names,
            Err(error) if error.is_not_found() => continue,
            Err(error) => {
                lacking.push(format!("the volumes of a pod: {error}"));
                continue;
            }
        };
        for name in volumes {
            let data = match block {
                false => folder.join(&name).join("vol_data.json"),
                true => Staging::of_block(&name).data(root),
            };
            claims.push(Claim {
                pod: pod.to_owned(),
                block,
                volume: volume(&data, deadline).await,
                name,
            });
        }
    }
    (claims, lacking)
}

async fn names(folder: &Path, deadline: Duration) -> Result<Vec<String>, LookError> {
    let listing = look::read_dir(folder, MANY, deadline).await?;
    let names = listing.names.into_iter();
    // The kubelet's own names are plain.
    Ok(names
        .filter_map(|name| name.name.into_string().ok())
        .collect())
}

/// What a `vol_data.json` says; none where it is not there or says nothing.
async fn volume(data: &Path, deadline: Duration) -> Option<Volume> {
    let bytes = look::read_file(data, 0, ENOUGH, deadline).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Does something with each, several at once; what comes of it, in the order of
/// the items.
async fn each<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    R: Send + 'static,
    F: Future<Output = Option<R>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (number, item) in items.into_iter().enumerate() {
        let (permits, work) = (permits.clone(), work(item));
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            (number, work.await)
        });
    }
    let mut done = tasks.join_all().await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().filter_map(|(_, result)| result).collect()
}
