"""The columns of a request, named once."""

CATEGORIES = ["carrier", "origin", "dest"]
SCHEDULE = ["flight", "weekday", "departure_minute", "arrival_minute", "distance"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "rain", "pressure", "visib"]
PLANE = ["plane_year", "seats"]

NUMBERS = [*SCHEDULE, *WEATHER, *PLANE]
MAY_BE_MISSING = [*WEATHER, *PLANE]
INPUTS = [*CATEGORIES, *NUMBERS]
LABEL = "late"
