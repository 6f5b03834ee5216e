//! The SDK's clients, made when they are first needed: one for each account and region, of those used last.
//!
//! Must not send anything.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_s3::config::{
    BehaviorVersion, RequestChecksumCalculation, SharedCredentialsProvider, StalledStreamProtectionConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_types::{SdkConfig, region::Region};
use hothouse_control::{delivery::DeliveryError, state::model::Scope};

use super::{Patience, failure, transport::Transport};
use crate::companions::forward::Forwarder;

/// Clients of one service that are kept.
const KEPT: usize = 8;
/// Requests of one delivery, at most: a connection that the other side has closed meanwhile is no failure.
const REQUESTS: u32 = 2;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    forwarder: Arc<Forwarder>,
    patience: Patience,
    queues: Recent<(aws_sdk_sqs::Client, Arc<str>)>,
    topics: Recent<aws_sdk_sns::Client>,
    buses: Recent<aws_sdk_eventbridge::Client>,
    buckets: Recent<aws_sdk_s3::Client>,
}

impl Clients {
    pub(super) fn new(forwarder: Arc<Forwarder>, patience: Patience) -> Self {
        Clients {
            forwarder,
            patience,
            queues: Recent::default(),
            topics: Recent::default(),
            buses: Recent::default(),
            buckets: Recent::default(),
        }
    }

    /// A client of SQS, and the URL that queues of its account and region are under.
    pub(super) fn queues(&self, scope: &Scope) -> Result<(aws_sdk_sqs::Client, Arc<str>), DeliveryError> {
        self.queues.get(scope, || {
            let config = self.config("SQS", "sqs", scope)?;
            let url = config.endpoint_url().unwrap_or_default().trim_end_matches('/').into();
            Ok((aws_sdk_sqs::Client::new(&config), url))
        })
    }

    /// A client of SNS.
    pub(super) fn topics(&self, scope: &Scope) -> Result<aws_sdk_sns::Client, DeliveryError> {
        self.topics.get(scope, || Ok(aws_sdk_sns::Client::new(&self.config("SNS", "sns", scope)?)))
    }

    /// A client of EventBridge.
    pub(super) fn buses(&self, scope: &Scope) -> Result<aws_sdk_eventbridge::Client, DeliveryError> {
        self.buses.get(scope, || {
            Ok(aws_sdk_eventbridge::Client::new(&self.config("EventBridge", "events", scope)?))
        })
    }

    /// A client of S3 that names buckets in the path, as hosts of an endpoint are not ours to make up.
    pub(super) fn buckets(&self, scope: &Scope) -> Result<aws_sdk_s3::Client, DeliveryError> {
        self.buckets.get(scope, || {
            let config = aws_sdk_s3::config::Builder::from(&self.config("S3", "s3", scope)?);
            Ok(aws_sdk_s3::Client::from_conf(config.force_path_style(true).build()))
        })
    }

    fn config(&self, name: &'static str, service: &str, scope: &Scope) -> Result<SdkConfig, DeliveryError> {
        let Scope { account, region } = scope;
        let url = self.forwarder.url(service, region);
        // The SDK for S3 wants the slash: it appends the bucket as it is.
        let url = format!("{}/", url.map_err(|error| failure::without_url(name, error))?);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(self.patience.request)
            .operation_timeout(self.patience.delivery);
        Ok(SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(Transport::new(self.forwarder.clone()))
            .endpoint_url(url)
            .region(Region::new(region.to_string()))
            .credentials_provider(SharedCredentialsProvider::new(
                self.forwarder.keys_for(*account).credentials(),
            ))
            .retry_config(RetryConfig::standard().with_max_attempts(REQUESTS))
            .timeout_config(timeouts.build())
            // Everything is at hand when it is sent; the timeouts are enough.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Checksums that nobody requires are what emulators stumble over.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build())
    }
}

/// What was made for the scopes that were asked for last.
struct Recent<C>(Mutex<VecDeque<(Scope, C)>>);

impl<C: Clone> Recent<C> {
    fn get(
        &self,
        scope: &Scope,
        make: impl FnOnce() -> Result<C, DeliveryError>,
    ) -> Result<C, DeliveryError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(other, _)| other == scope).and_then(|index| kept.remove(index));
        let (scope, client) = match found {
            Some(found) => found,
            None => (scope.clone(), make()?),
        };
        kept.truncate(KEPT - 1);
        kept.push_front((scope, client.clone()));
        Ok(client)
    }
}

impl<C> Default for Recent<C> {
    fn default() -> Self {
        Recent(Mutex::default())
    }
}

impl<C> fmt::Debug for Recent<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}
