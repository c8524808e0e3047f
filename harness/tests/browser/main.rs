//! `report.html` in a real browser: it is opened, filtered, and the late mount found.

#[expect(
    dead_code,
    reason = "the run of the other tests; not all of it is shown here"
)]
#[path = "../report/fixtures.rs"]
mod fixtures;

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

use csi_harness::report::html;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

type Done = Result<(), Box<dyn Error>>;

/// As distributions name it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let browser = BROWSERS.into_iter().find(|name| {
        let told = Command::new(name).arg("--version").output();
        told.is_ok_and(|told| told.status.success())
    });
    let trial = |name: &str, test: fn(&Page) -> Done| {
        Trial::ignorable_test(name, move || match browser {
            None => Ok(Completion::ignored_with("the host lacks chromium")),
            Some(browser) => Page::new(browser)
                .and_then(|page| test(&page))
                .map(|()| Completion::Completed)
                .map_err(Failed::from),
        })
    };
    let trials = vec![
        trial("all_is_shown_at_first", all_is_shown),
        trial("a_filter_leaves_the_late_mount", filtered),
        trial("it_is_readable_without_javascript", without_javascript),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The report of the fixtures, in a folder of its own with the browser's own files.
struct Page {
    browser: &'static str,
    folder: tempfile::TempDir,
}

impl Page {
    fn new(browser: &'static str) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(
            folder.path().join("report.html"),
            html(&fixtures::report())?,
        )?;
        Ok(Self { browser, folder })
    }

    /// The document as it stands when its scripts have run.
    fn dom(&self, fragment: &str) -> Result<String, Box<dyn Error>> {
        let path = |name: &str| {
            Path::new(self.folder.path())
                .join(name)
                .display()
                .to_string()
        };
        let output = Command::new(self.browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .arg(format!("--user-data-dir={}", path("profile")))
            .arg(format!("file://{}{fragment}", path("report.html")))
            .env("HOME", self.folder.path())
            .output()?;
        let dom = String::from_utf8(output.stdout)?;
        match dom.contains("</html>") {
            true => Ok(dom),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("{} showed nothing: {said}", self.browser).into())
            }
        }
    }
}

/// The findings that are shown, by the ids of their places.
fn shown(dom: &str) -> Vec<String> {
    let tags = dom
        .split("<article ")
        .skip(1)
        .filter_map(|rest| rest.split('>').next());
    let id = |tag: &str| {
        let (_, rest) = tag.split_once("id=\"")?;
        rest.split('"').next().map(str::to_owned)
    };
    tags.filter(|tag| !tag.contains("hidden"))
        .filter_map(id)
        .collect()
}

const LATE: &str = "c-node-publish.target-is-mounted";

fn all_is_shown(page: &Page) -> Done {
    let dom = page.dom("")?;
    let all = shown(&dom);
    assert!(all.len() > 3 && all.iter().any(|id| id == LATE), "{all:?}");
    assert!(dom.contains("16 of 16 checks"), "the filter does not work");
    Ok(())
}

fn filtered(page: &Page) -> Done {
    let dom = page.dom("#q=target-is-mounted%20exports")?;
    assert_eq!(shown(&dom), [LATE]);
    let (_, finding) = dom
        .split_once(&format!("id=\"{LATE}\""))
        .ok_or("no finding")?;
    let (finding, _) = finding.split_once("</article>").ok_or("no end of it")?;
    // In the drawing, the mount stands long after the end of the call.
    let number = |text: &str, name: &str| -> Option<f64> {
        let (_, rest) = text.split_once(&format!("{name}=\""))?;
        rest.split('"').next()?.parse().ok()
    };
    let publish = finding
        .split("<g class=\"call\"")
        .find(|row| row.contains("NodePublishVolume OK"))
        .and_then(|row| row.split("<rect").nth(1))
        .ok_or("no bar of the call")?;
    let end = number(publish, "x").zip(number(publish, "width"));
    let (x, width) = end.ok_or("a bar without a place")?;
    let late = finding
        .split("<circle class=\"late\"")
        .nth(1)
        .and_then(|point| number(point, "cx"))
        .ok_or("no late mount")?;
    assert!(
        late > x + width + 200.0,
        "the mount at {late}, the call until {}",
        x + width
    );
    assert!(finding.contains("a mount, +3.10 s"));
    Ok(())
}

fn without_javascript(page: &Page) -> Done {
    let file = page.folder.path().join("report.html");
    let text = std::fs::read_to_string(&file)?;
    // As on the page of an artifact that runs no scripts.
    const NO_SCRIPTS: &str =
        "<head><meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'none'\">";
    std::fs::write(&file, text.replacen("<head>", NO_SCRIPTS, 1))?;
    let dom = page.dom("#q=nothing")?;
    assert!(shown(&dom).iter().any(|id| id == LATE));
    assert!(
        dom.contains("<form id=\"filter\" hidden"),
        "a filter that does nothing"
    );
    Ok(())
}
