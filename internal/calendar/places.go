package calendar

import "strings"

// placeZone returns the name in the tz database for a place by which Windows shows a
// time zone to people, in lower case.
func placeZone(place string) (string, bool) { return lookUp(places, place) }

// lookUp finds a key in a table of lines, each a key, a tab and a value.
func lookUp(table, key string) (value string, ok bool) {
	_, rest, ok := strings.Cut(table, "\n"+key+"\t")
	if !ok || strings.ContainsAny(key, "\t\n") {
		return "", false
	}
	value, _, _ = strings.Cut(rest, "\n")
	return value, true
}

const places = `
abu dhabi	Asia/Dubai
adelaide	Australia/Adelaide
alaska	America/Anchorage
aleutian islands	America/Adak
almaty	Asia/Almaty
amman	Asia/Amman
amsterdam	Europe/Berlin
anadyr	Asia/Kamchatka
araguaina	America/Araguaina
arizona	America/Phoenix
ashgabat	Asia/Tashkent
astana	Asia/Almaty
astrakhan	Europe/Astrakhan
asuncion	America/Asuncion
athens	Europe/Bucharest
atlantic time	America/Halifax
atlantic time (canada)	America/Halifax
auckland	Pacific/Auckland
azores	Atlantic/Azores
baghdad	Asia/Baghdad
baja california	America/Tijuana
baku	Asia/Baku
bangkok	Asia/Bangkok
barnaul	Asia/Barnaul
beijing	Asia/Shanghai
beirut	Asia/Beirut
belgrade	Europe/Budapest
berlin	Europe/Berlin
bern	Europe/Berlin
bishkek	Asia/Bishkek
bogota	America/Bogota
bougainville island	Pacific/Bougainville
brasilia	America/Sao_Paulo
bratislava	Europe/Budapest
brisbane	Australia/Brisbane
brussels	Europe/Paris
bucharest	Europe/Bucharest
budapest	Europe/Budapest
buenos aires	America/Argentina/Buenos_Aires
cabo verde is.	Atlantic/Cape_Verde
cairo	Africa/Cairo
calcutta	Asia/Kolkata
canberra	Australia/Sydney
cape verde is.	Atlantic/Cape_Verde
caracas	America/Caracas
casablanca	Africa/Casablanca
cayenne	America/Cayenne
central america	America/Guatemala
central time	America/Chicago
central time (us & canada)	America/Chicago
chatham islands	Pacific/Chatham
chennai	Asia/Kolkata
chetumal	America/Cancun
chihuahua	America/Chihuahua
chisinau	Europe/Chisinau
chita	Asia/Chita
chokurdakh	Asia/Srednekolymsk
chongqing	Asia/Shanghai
city of buenos aires	America/Argentina/Buenos_Aires
coordinated universal time	Etc/UTC
coordinated universal time+12	Etc/GMT-12
coordinated universal time+13	Etc/GMT-13
coordinated universal time-02	Etc/GMT+2
coordinated universal time-08	Etc/GMT+8
coordinated universal time-09	Etc/GMT+9
coordinated universal time-11	Etc/GMT+11
copenhagen	Europe/Paris
cuiaba	America/Cuiaba
damascus	Asia/Damascus
darwin	Australia/Darwin
dhaka	Asia/Dhaka
dublin	Europe/London
easter island	Pacific/Easter
eastern time	America/New_York
eastern time (us & canada)	America/New_York
edinburgh	Europe/London
ekaterinburg	Asia/Yekaterinburg
eucla	Australia/Eucla
fiji	Pacific/Fiji
fortaleza	America/Cayenne
gaza	Asia/Hebron
georgetown	America/La_Paz
gorno-altaysk	Asia/Barnaul
greenland	America/Nuuk
greenwich mean time	Europe/London
greenwich mean time: dublin	Europe/London
guadalajara	America/Mexico_City
guam	Pacific/Port_Moresby
haiti	America/Port-au-Prince
hanoi	Asia/Bangkok
harare	Africa/Johannesburg
havana	America/Havana
hawaii	Pacific/Honolulu
hebron	Asia/Hebron
helsinki	Europe/Kyiv
hobart	Australia/Hobart
hong kong	Asia/Shanghai
hovd	Asia/Hovd
indiana (east)	America/Indiana/Indianapolis
international date line west	Etc/GMT+12
irkutsk	Asia/Irkutsk
islamabad	Asia/Karachi
istanbul	Europe/Istanbul
izhevsk	Europe/Samara
jakarta	Asia/Bangkok
jerusalem	Asia/Jerusalem
juba	Africa/Juba
kabul	Asia/Kabul
kaliningrad	Europe/Kaliningrad
karachi	Asia/Karachi
kathmandu	Asia/Kathmandu
khartoum	Africa/Khartoum
kiev	Europe/Kyiv
kiritimati island	Pacific/Kiritimati
kolkata	Asia/Kolkata
krasnoyarsk	Asia/Krasnoyarsk
kuala lumpur	Asia/Singapore
kuwait	Asia/Riyadh
kyiv	Europe/Kyiv
la paz	America/La_Paz
lima	America/Bogota
lisbon	Europe/London
ljubljana	Europe/Budapest
london	Europe/London
lord howe island	Australia/Lord_Howe
madrid	Europe/Paris
magadan	Asia/Magadan
manaus	America/La_Paz
marquesas islands	Pacific/Marquesas
mazatlan	America/Mazatlan
melbourne	Australia/Sydney
mexico city	America/Mexico_City
mid-atlantic	Etc/GMT+2
mid-atlantic - old	Etc/GMT+2
minsk	Europe/Minsk
monrovia	Atlantic/Reykjavik
monterrey	America/Mexico_City
montevideo	America/Montevideo
moscow	Europe/Moscow
mountain time	America/Denver
mountain time (us & canada)	America/Denver
mumbai	Asia/Kolkata
muscat	Asia/Dubai
nairobi	Africa/Nairobi
new caledonia	Pacific/Guadalcanal
new delhi	Asia/Kolkata
newfoundland	America/St_Johns
norfolk island	Pacific/Norfolk
novosibirsk	Asia/Novosibirsk
nuku'alofa	Pacific/Tongatapu
nur-sultan	Asia/Almaty
omsk	Asia/Omsk
osaka	Asia/Tokyo
pacific time	America/Los_Angeles
pacific time (us & canada)	America/Los_Angeles
paris	Europe/Paris
perth	Australia/Perth
petropavlovsk-kamchatsky	Asia/Kamchatka
port louis	Indian/Mauritius
port moresby	Pacific/Port_Moresby
prague	Europe/Budapest
pretoria	Africa/Johannesburg
punta arenas	America/Punta_Arenas
pyongyang	Asia/Pyongyang
quito	America/Bogota
qyzylorda	Asia/Qyzylorda
rangoon	Asia/Yangon
reykjavik	Atlantic/Reykjavik
riga	Europe/Kyiv
rio branco	America/Bogota
riyadh	Asia/Riyadh
rome	Europe/Berlin
saint pierre and miquelon	America/Miquelon
sakhalin	Asia/Sakhalin
salvador	America/Bahia
samara	Europe/Samara
samoa	Pacific/Apia
san juan	America/La_Paz
santiago	America/Santiago
sao tome	Africa/Sao_Tome
sapporo	Asia/Tokyo
sarajevo	Europe/Warsaw
saratov	Europe/Saratov
saskatchewan	America/Regina
seoul	Asia/Seoul
singapore	Asia/Singapore
skopje	Europe/Warsaw
sofia	Europe/Kyiv
solomon is.	Pacific/Guadalcanal
sri jayawardenepura	Asia/Colombo
st. petersburg	Europe/Moscow
stockholm	Europe/Berlin
sydney	Australia/Sydney
taipei	Asia/Taipei
tallinn	Europe/Kyiv
tashkent	Asia/Tashkent
tbilisi	Asia/Tbilisi
tehran	Asia/Tehran
tijuana	America/Tijuana
tokyo	Asia/Tokyo
tomsk	Asia/Tomsk
tripoli	Africa/Tripoli
turks and caicos	America/Grand_Turk
ulaan bataar	Asia/Ulaanbaatar
ulaanbaatar	Asia/Ulaanbaatar
ulyanovsk	Europe/Astrakhan
urumqi	Asia/Shanghai
vienna	Europe/Berlin
vilnius	Europe/Kyiv
vladivostok	Asia/Vladivostok
volgograd	Europe/Volgograd
warsaw	Europe/Warsaw
wellington	Pacific/Auckland
west central africa	Africa/Lagos
windhoek	Africa/Windhoek
yakutsk	Asia/Yakutsk
yangon (rangoon)	Asia/Yangon
yerevan	Asia/Yerevan
yukon	America/Whitehorse
zagreb	Europe/Warsaw
`
