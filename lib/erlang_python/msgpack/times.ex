defmodule ErlangPython.MessagePack.Times do
  @moduledoc false
  # Dates and times, both ways. Python's years go from 1 to 9999, and its clocks have
  # microseconds always: here a value without microseconds has precision 0, any other 6.

  import ErlangPython.MessagePack.Extension, only: [type: 1, pack: 2]

  alias ErlangPython.MessagePack.{EncodeError, Optional}

  @epoch_days 719_528
  @first_day Date.to_gregorian_days(~D[0001-01-01]) - @epoch_days
  @last_day Date.to_gregorian_days(~D[9999-12-31]) - @epoch_days
  @day_us 86_400_000_000
  @first_us @first_day * @day_us
  @last_us (@last_day + 1) * @day_us - 1

  defguardp in_python(us) when us >= @first_us and us <= @last_us
  defguardp is_int64(int) when int >= -0x8000_0000_0000_0000 and int < 0x8000_0000_0000_0000

  @type packed ::
          {:packed, binary()}
          | {:marked, integer(), [term()]}
          | {:error, EncodeError.reason(), hint :: String.t()}

  @spec pack_date(Date.t()) :: packed()
  def pack_date(%Date{calendar: Calendar.ISO} = date) do
    days = Date.to_gregorian_days(date) - @epoch_days

    if days in @first_day..@last_day,
      do: {:packed, pack(type(:date), <<days::signed-32>>)},
      else: year_error()
  end

  def pack_date(date), do: converted(Date.convert(date, Calendar.ISO), &pack_date/1)

  @spec pack_time(Time.t()) :: packed()
  def pack_time(%Time{calendar: Calendar.ISO} = time) do
    {seconds, us} = Time.to_seconds_after_midnight(time)
    {:packed, pack(type(:time), <<seconds * 1_000_000 + us::64>>)}
  end

  def pack_time(time), do: converted(Time.convert(time, Calendar.ISO), &pack_time/1)

  @spec pack_naive(NaiveDateTime.t()) :: packed()
  def pack_naive(%NaiveDateTime{calendar: Calendar.ISO} = naive) do
    us = wall_us(naive)

    if in_python(us),
      do: {:packed, pack(type(:naive_datetime), <<us::signed-64>>)},
      else: year_error()
  end

  def pack_naive(naive), do: converted(NaiveDateTime.convert(naive, Calendar.ISO), &pack_naive/1)

  @spec pack_datetime(DateTime.t()) :: packed()
  def pack_datetime(%DateTime{calendar: Calendar.ISO} = datetime) do
    wall = wall_us(datetime)
    utc = wall - (datetime.utc_offset + datetime.std_offset) * 1_000_000

    cond do
      not (in_python(wall) and in_python(utc)) -> year_error()
      datetime.time_zone == "Etc/UTC" -> {:packed, timestamp(utc)}
      true -> {:marked, type(:datetime), [utc | zone(datetime)]}
    end
  end

  def pack_datetime(datetime),
    do: converted(DateTime.convert(datetime, Calendar.ISO), &pack_datetime/1)

  # MessagePack specification, "Timestamp extension type".
  defp timestamp(us) do
    {seconds, ns} = {Integer.floor_div(us, 1_000_000), Integer.mod(us, 1_000_000) * 1_000}

    case seconds do
      _ when ns == 0 and seconds in 0..0xFFFF_FFFF ->
        pack(type(:timestamp), <<seconds::32>>)

      _ when seconds in 0..0x3_FFFF_FFFF ->
        pack(type(:timestamp), <<ns::30, seconds::34>>)

      _ ->
        pack(type(:timestamp), <<ns::32, seconds::signed-64>>)
    end
  end

  defp zone(datetime),
    do: [datetime.utc_offset, datetime.std_offset, datetime.zone_abbr, datetime.time_zone]

  # By field names: Elixir has `Duration` from 1.17 on only.
  @spec pack_duration(map()) :: packed()
  def pack_duration(%{year: 0, month: 0, microsecond: {us, _precision}} = duration) do
    hours = (duration.week * 7 + duration.day) * 24 + duration.hour
    pack_microseconds(((hours * 60 + duration.minute) * 60 + duration.second) * 1_000_000 + us)
  end

  def pack_duration(_duration) do
    {:error, :no_equivalent,
     "a Python timedelta has no months or years; say how many days or seconds they are"}
  end

  @spec pack_microseconds(integer()) :: packed()
  def pack_microseconds(us) when is_int64(us),
    do: {:packed, pack(type(:duration), <<us::signed-64>>)}

  def pack_microseconds(_us),
    do: {:error, :out_of_range, "it is longer than 64 bits of microseconds can say"}

  @spec unpack(integer(), binary()) :: {:ok, term()} | :error
  def unpack(type(:date), <<days::signed-32>>) when days in @first_day..@last_day,
    do: {:ok, Date.from_gregorian_days(days + @epoch_days)}

  def unpack(type(:time), <<us::64>>) when us < @day_us,
    do: {:ok, NaiveDateTime.to_time(naive(us))}

  def unpack(type(:naive_datetime), <<us::signed-64>>) when in_python(us), do: {:ok, naive(us)}
  def unpack(type(:duration), <<us::signed-64>>), do: {:ok, duration(us)}
  def unpack(type(:timestamp), <<seconds::32>>), do: utc(seconds, 0)
  def unpack(type(:timestamp), <<ns::30, seconds::34>>), do: utc(seconds, ns)
  def unpack(type(:timestamp), <<ns::32, seconds::signed-64>>), do: utc(seconds, ns)
  def unpack(_type, _data), do: :error

  # Built by hand: the fields say all, and no time zone database is needed.
  @spec datetime([term()]) :: {:ok, DateTime.t()} | :error
  def datetime([us, utc_offset, std_offset, abbreviation, zone])
      when is_integer(us) and is_integer(utc_offset) and is_integer(std_offset) and
             is_binary(abbreviation) and is_binary(zone) and
             in_python(us + (utc_offset + std_offset) * 1_000_000) do
    wall = naive(us + (utc_offset + std_offset) * 1_000_000)

    {:ok,
     %DateTime{
       year: wall.year,
       month: wall.month,
       day: wall.day,
       hour: wall.hour,
       minute: wall.minute,
       second: wall.second,
       microsecond: wall.microsecond,
       utc_offset: utc_offset,
       std_offset: std_offset,
       zone_abbr: abbreviation,
       time_zone: zone
     }}
  end

  def datetime(_items), do: :error

  # Nanoseconds are cut: neither language's type has them.
  defp utc(seconds, ns) when ns < 1_000_000_000,
    do: datetime([seconds * 1_000_000 + div(ns, 1_000), 0, 0, "UTC", "Etc/UTC"])

  defp utc(_seconds, _ns), do: :error

  defp naive(us) do
    fraction = Integer.mod(us, 1_000_000)

    ~N[1970-01-01 00:00:00]
    |> NaiveDateTime.add(Integer.floor_div(us, 1_000_000), :second)
    |> Map.put(:microsecond, if(fraction == 0, do: {0, 0}, else: {fraction, 6}))
  end

  defp duration(us) do
    if Optional.available?(Duration),
      do: struct(Duration, duration_fields(us)),
      else: %ErlangPython.Duration{microseconds: us}
  end

  # All fields have the sign of the whole, so that they add up.
  defp duration_fields(us) do
    seconds = div(us, 1_000_000)
    fraction = rem(us, 1_000_000)

    [
      day: div(seconds, 86_400),
      hour: seconds |> div(3_600) |> rem(24),
      minute: seconds |> div(60) |> rem(60),
      second: rem(seconds, 60),
      microsecond: if(fraction == 0, do: {0, 0}, else: {fraction, 6})
    ]
  end

  defp wall_us(%{microsecond: {fraction, _precision}} = moment) do
    days = Date.to_gregorian_days(moment) - @epoch_days
    seconds = days * 86_400 + moment.hour * 3_600 + moment.minute * 60 + moment.second
    seconds * 1_000_000 + fraction
  end

  defp converted({:ok, value}, pack), do: pack.(value)

  defp converted({:error, _reason}, _pack),
    do: {:error, :no_equivalent, "it cannot be converted to the ISO calendar"}

  defp year_error, do: {:error, :out_of_range, "Python's years go from 1 to 9999"}
end
