package pidf

// The values of enumerations, separated by bars.
const (
	basics     = "open|closed"
	userInputs = "active|idle"

	audioPlaces = "noisy|ok|quiet|unknown"
	videoPlaces = "toobright|ok|dark|unknown"
	textPlaces  = "uncomfortable|inappropriate|ok|unknown"

	activities = "appointment|away|breakfast|busy|dinner|holiday|in-transit|looking-for-work|meal|meeting|on-the-phone|" +
		"performance|permanent-absence|playing|presentation|shopping|sleeping|spectator|steering|travel|tv|unknown|vacation|" +
		"working|worship|other"
	moods = "afraid|amazed|angry|annoyed|anxious|ashamed|bored|brave|calm|cold|confused|contented|cranky|curious|depressed|" +
		"disappointed|disgusted|distracted|embarrassed|excited|flirtatious|frustrated|grumpy|guilty|happy|hot|humbled|" +
		"humiliated|hungry|hurt|impressed|in_awe|in_love|indignant|interested|invincible|jealous|lonely|mean|moody|nervous|" +
		"neutral|offended|playful|proud|relieved|remorseful|restless|sad|sarcastic|serious|shocked|shy|sick|sleepy|stressed|" +
		"surprised|thirsty|unknown|worried|other"
	relationships  = "assistant|associate|family|friend|other|self|supervisor|unknown"
	serviceClasses = "courier|electronic|freight|in-person|postal|unknown"
	privacies      = "audio|text|video|unknown"
	spheres        = "home|work|unknown"
)
